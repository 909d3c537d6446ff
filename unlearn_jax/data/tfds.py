"""Any image classification set that TFDS prepared as ArrayRecord.

Read at random through `as_data_source`, without TensorFlow. Preparing is the
user's part: built-in sets need the extra `[tfds-prepare]` for it.

Ids are those that TFDS calls `tfds_id`, '<file name>__<row in the file>'. Its
random-access reader does not hand them out (only `tf.data` does), so they are
built here from the same file instructions. They belong to this preparation:
TFDS orders rows by a hash of their keys, so preparing a changed set again
renames them. Where people own examples, name the feature with `owner_key`.
"""

import os
import pathlib

import numpy as np

from unlearn_jax import errors, types
from unlearn_jax.data import _checks

_CHUNK = 1024  # examples decoded at once


def make(
  *,
  dataset: str,
  split: str = 'train',
  data_dir: str | os.PathLike | None = None,
  image_key: str = 'image',
  label_key: str = 'label',
  owner_key: str | None = None,
  mean=0.0,
  std=255.0,
  num_classes: int | None = None,
  in_memory: bool = True,
) -> types.Dataset:
  """Builds a split.

  Args:
    dataset: 'name' or 'name/config', each with or without ':version', which
      may be left out while only one version is prepared.
    split: in TFDS's language, like 'train[:80%]' or 'train+test'.
    data_dir: TFDS's folder; by default `$TFDS_DATA_DIR`, else
      `~/tensorflow_datasets`.
    mean: declared, number or nested list that broadcasts against an image.
    std: the same.
    num_classes: by default what the set's description says.
    in_memory: False decodes images at every read instead of keeping them.
  """
  root = pathlib.Path(
    data_dir or os.environ.get('TFDS_DATA_DIR') or '~/tensorflow_datasets'
  ).expanduser()
  folder = _folder(dataset, root)
  # Here, not above: most runs never need it.
  import tensorflow_datasets as tfds

  builder = tfds.builder_from_directory(str(folder))
  formats = {f.value for f in builder.info.available_file_formats()}
  if 'array_record' not in formats:
    raise errors.DataNotFound(
      f'{folder} holds {", ".join(sorted(formats))}, and only array_record is '
      f'read here. {_how_to_prepare(dataset, root)}'
    )
  features = builder.info.features
  for key in filter(None, (image_key, label_key, owner_key)):
    errors.check_choice(f'feature of {dataset}', key, features)
  if num_classes is None:
    num_classes = getattr(features[label_key], 'num_classes', None)
  if num_classes is None:
    raise errors.ConfigError(
      f'{dataset} does not say how many classes {label_key!r} has: '
      'give num_classes'
    )
  ids = _ids(builder.info, dataset, split)
  where = f'{folder} [{split}]'
  source = builder.as_data_source(split, file_format='array_record')
  x, columns = _read_once(
    source,
    image_key,
    [key for key in (label_key, owner_key) if key],
    rows=ids,
    where=where,
    keep_images=in_memory,
  )

  def decode(positions):
    images = [e[image_key] for e in source.__getitems__(positions.tolist())]
    return np.stack(images) if images else x

  return _checks.from_reader(
    name=dataset,
    where=where,
    read=(lambda positions: x[positions]) if in_memory else decode,
    input_shape=x.shape[1:],
    y=columns[label_key],
    ids=ids,
    owners=columns.get(owner_key),
    task=types.Task('classification', num_classes),
    mean=mean,
    std=std,
    rows=ids,
  )


def _folder(dataset, root):
  """Where the set was prepared. Looks at the disk only, so it fails at once."""
  name, _, version = dataset.partition(':')
  marked = (root / name).glob('*/dataset_info.json')
  found = {path.parent.name: path.parent for path in marked}
  if version and version in found:
    return found[version]
  if not version and len(found) == 1:
    return next(iter(found.values()))
  if not version and found:
    raise errors.ConfigError(
      f'{name} is prepared in {root} in the versions {", ".join(sorted(found))}'
      f': say which, like {name}:{min(found)}'
    )
  there = f' (there: {", ".join(sorted(found))})' if found else ''
  raise errors.DataNotFound(
    f'{dataset} was not prepared by TFDS in {root}{there}. '
    f'{_how_to_prepare(dataset, root)}'
  )


def _how_to_prepare(dataset, root):
  return (
    'Once, with a network and `pip install unlearn_jax[tfds-prepare]`, run: '
    'python -c "import tensorflow_datasets as tfds; '
    f"tfds.builder('{dataset}', data_dir='{root}', "
    "file_format='array_record')"
    '.download_and_prepare()"'
  )


def _ids(info, dataset, split):
  """[n] str, the `tfds_id` of each row of `split`, in the reader's order."""
  try:
    files = info.splits[split].file_instructions
  except (ValueError, KeyError) as e:
    raise errors.ConfigError(
      f'split {split!r} of {dataset}: {e}; it has {", ".join(info.splits)}'
    ) from e
  if not files:
    raise errors.ConfigError(f'split {split!r} of {dataset} has no rows')
  return np.array(
    [
      f'{file.basename()}__{row}'
      for file in files
      for row in range(file.skip, file.skip + file.take)
    ]
  )


def _read_once(source, image_key, keys, *, rows, where, keep_images):
  """Goes once through all rows, in chunks, and checks the images.

  Returns: images [n, ...] ([0, ...] unless `keep_images`), and a dict of the
  columns `keys`, each [n].
  """
  kept, columns, shape = [], {key: [] for key in keys}, None
  for start in range(0, len(source), _CHUNK):
    chunk = np.arange(start, min(start + _CHUNK, len(source)))
    try:
      examples = source.__getitems__(chunk.tolist())
    except (OSError, RuntimeError, ValueError, IndexError) as e:
      raise errors.DataError(
        f'{where} cannot be read from row {rows[start]} on: {e}'
      ) from e
    shape = shape or examples[0][image_key].shape
    other = [e[image_key].shape != shape for e in examples]
    _checks.refuse(
      np.array(other),
      f'an image is not {list(shape)} like the first',
      where=where,
      rows=rows[chunk],
    )
    images = np.stack([e[image_key] for e in examples])
    _checks.check_inputs(images, where=where, rows=rows[chunk])
    kept.append(images if keep_images else images[:0])
    for key, column in columns.items():
      column += [_plain(e[key]) for e in examples]
  return np.concatenate(kept), {k: np.array(v) for k, v in columns.items()}


def _plain(value):
  """Text comes as bytes."""
  return value.decode() if isinstance(value, bytes) else value
