"""Small sets really prepared by TFDS, on disk, without TensorFlow."""

import io

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image


def prepare(
  data_dir,
  *,
  name='tiny',
  version='1.0.0',
  shapes=((4, 4, 1),),
  num_classes=3,
  sizes=(12, 5),
  file_format='array_record',
):
  """Writes splits 'train' and 'test' of PNG images; `shapes` take turns, [h, w, c]."""
  release = tfds.core.Version(version)

  class TinyImages(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    VERSION = release

    def _info(self):
      features = {
        'image': tfds.features.Image(shape=(None, None, shapes[0][-1])),
        'label': tfds.features.ClassLabel(num_classes=num_classes),
        'person': tfds.features.Text(),
      }
      return tfds.core.DatasetInfo(
        builder=self, features=tfds.features.FeaturesDict(features)
      )

    def _split_generators(self, dl_manager):
      return {
        'train': self._generate_examples(0, sizes[0]),
        'test': self._generate_examples(100, sizes[1]),
      }

    def _generate_examples(self, first, count):
      for i in range(first, first + count):
        pixels = np.full(shapes[i % len(shapes)], i, np.uint8)
        png = io.BytesIO()  # encoded here: TFDS would need TensorFlow
        Image.fromarray(pixels.squeeze()).save(png, 'png')
        png.seek(0)
        yield i, {'image': png, 'label': i % 3, 'person': f'p{i // 2}'}

  TinyImages.name = name
  builder = TinyImages(data_dir=str(data_dir), file_format=file_format)
  builder.download_and_prepare()
  return builder
