"""What every kind of page is made of."""

import dataclasses
from collections.abc import Mapping, Sequence

from unlearn_jax.study.report.html import Markup
from unlearn_jax.study.report.picture import Figure


@dataclasses.dataclass(frozen=True, kw_only=True)
class Document:
  """A page before it is one."""

  title: str
  lead: Sequence[str]  # what it all comes to, first
  sections: Mapping[str, Markup]
  figures: Sequence[Figure]  # which become files too
