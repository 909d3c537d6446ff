"""Exact unlearning: SISA and S3T as one system of content-named stages."""
