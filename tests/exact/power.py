"""What a loss of power may leave of a disk, enumerated.

A `Recorder` does what a `files.Disk` does and keeps a trace. `Model` plays a
prefix of the trace on two images: what processes see, and what is surely on the
disk. What lies between is pending: a name is durable after a sync of its
folder, a content after a sync of its file. Any part of the pending may have
reached the disk when the power goes, so every image after it is the durable one
plus a subset of the pending operations; of a content, some of its sectors.

SQLite is one step, durable when its connection says so; it needs no model of
its files. Orbax is one step too: its files are there, and all are pending.
"""

import inspect
import itertools
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from unlearn_jax import files

SECTOR = 512
_FULL = 2  # of `pragma synchronous`


class Op(NamedTuple):
  """One step of a trace; paths are relative to the root."""

  kind: str
  path: str = ''
  what: Any = None


class Recorder(files.Disk):
  """Does every call below `root`, and writes it down."""

  def __init__(self, root: pathlib.Path):
    self._root = root
    self.trace: list[Op] = []
    self.ledgers: list[bytes] = [b'']  # after each commit

  def mkdir(self, path):
    super().mkdir(path)
    self._note('mkdir', path)

  def write(self, path, content):
    super().write(path, content)
    self._note('write', path, content)

  def sync(self, path):
    super().sync(path)
    self._note('sync', path)

  def rename(self, old, new):
    super().rename(old, new)
    self._note('rename', old, self._inside(new))

  def unlink(self, path):
    super().unlink(path)
    self._note('unlink', path)

  def rmdir(self, path):
    super().rmdir(path)
    self._note('rmdir', path)

  def run(self, what, act):
    before = set(self._root.rglob('*'))
    result = act()
    if what == 'commit':
      db = inspect.getclosurevars(act).nonlocals['self']._db
      self.ledgers.append(db.serialize())
      durable = db.execute('pragma synchronous').fetchone()[0] >= _FULL
      self.trace.append(Op('commit', what=(len(self.ledgers) - 1, durable)))
    elif what == 'arrays':
      made = [
        Op('mkdir', self._inside(path))
        if path.is_dir()
        else Op('write', self._inside(path), path.read_bytes())
        for path in sorted(set(self._root.rglob('*')) - before)
      ]
      self.trace.append(Op('arrays', what=made))
    return result

  def promise(self, what: Any) -> None:
    """Notes that a caller was told something just now."""
    self.trace.append(Op('promise', what=what))

  def _note(self, kind, path, what=None) -> None:
    inside = self._inside(path)
    if inside is not None:
      self.trace.append(Op(kind, inside, what))

  def _inside(self, path) -> str | None:
    path = pathlib.Path(os.path.abspath(path))
    if not path.is_relative_to(self._root):
      return None  # what holds the root is there and stays
    return path.relative_to(self._root).as_posix()


class Image(NamedTuple):
  """Files by path, folders with content None; and the last commit."""

  files: dict[str, bytes | None]
  ledger: int


class Change(NamedTuple):
  """A pending operation on one folder, on a content or on the ledger."""

  kind: str
  where: int
  what: Any


class Torn(NamedTuple):
  """Content of which some sectors are on the disk."""

  at: int  # among the pending
  content: bytes


class Model:
  """The durable image of a disk, and what is pending."""

  def __init__(self):
    # Inodes by number: a rename moves a folder and all below.
    self._seen = {0: {}}  # folder -> {name: inode}
    self._folders, self._contents = {0: {}}, {}
    self._ledger, self._fresh = 0, 1
    self.pending: list[Change] = []

  def play(self, op: Op) -> None:
    if op.kind == 'arrays':
      for each in op.what:
        self.play(each)
    elif op.kind == 'commit':
      number, durable = op.what
      self.pending = [c for c in self.pending if c.kind != 'commit']
      if durable:
        self._ledger = number
      else:
        self.pending.append(Change('commit', 0, number))
    elif op.kind == 'sync':
      self._sync(self._find(op.path))
    elif op.kind != 'promise':
      folder, name = self._split(op.path)
      getattr(self, f'_{op.kind}')(folder, name, op.what)

  def subsets(self, most: int) -> Iterator[tuple[int, ...]]:
    """Which pending ones arrive: at most so many, or all but so many."""
    every = range(len(self.pending))
    seen = set()
    for few in range(min(most, len(every)) + 1):
      for some in itertools.combinations(every, few):
        rest = tuple(at for at in every if at not in some)
        for chosen in (some, rest):
          if chosen not in seen:
            seen.add(chosen)
            yield chosen

  def torn(self) -> Iterator[Torn]:
    """Every content of which only the first or all but one sectors arrive."""
    for at, change in enumerate(self.pending):
      if change.kind == 'content':
        whole = change.what
        for start in range(0, len(whole), SECTOR):
          if start:
            yield Torn(at, whole[:start])
          end = min(start + SECTOR, len(whole))
          yield Torn(at, whole[:start] + bytes(end - start) + whole[end:])

  def image(self, chosen: Sequence[int], torn: Torn | None = None) -> Image:
    """What is found when these of the pending, in order, have arrived."""
    folders, contents, ledger = self._folders, self._contents, self._ledger
    touched = {self.pending[at].where for at in chosen}
    folders = {
      n: dict(names) if n in touched else names for n, names in folders.items()
    }
    contents = dict(contents)
    for at in chosen:
      kind, where, what = self.pending[at]
      if kind == 'content':
        contents[where] = torn.content if torn and torn.at == at else what
      elif kind == 'commit':
        ledger = what
      else:
        _apply(folders[where], kind, what)
    return Image(_flat(folders, contents), ledger)

  def _mkdir(self, folder, name, _) -> None:
    self._seen[self._fresh], self._folders[self._fresh] = {}, {}
    self._change('link', folder, (name, self._fresh))
    self._fresh += 1

  def _write(self, folder, name, content) -> None:
    inode = self._seen[folder].get(name)
    if inode is None:
      inode, self._fresh = self._fresh, self._fresh + 1
      self._change('link', folder, (name, inode))
    self.pending.append(Change('content', inode, content))

  def _rename(self, folder, name, new) -> None:
    other, new = self._split(new)
    assert other == folder, 'a rename over two folders is not modelled'
    self._change('move', folder, (name, new, self._seen[folder][name]))

  def _unlink(self, folder, name, _) -> None:
    self._change('unlink', folder, (name,))

  _rmdir = _unlink

  def _change(self, kind, folder, what) -> None:
    _apply(self._seen[folder], kind, what)
    self.pending.append(Change(kind, folder, what))

  def _sync(self, inode: int) -> None:
    left = []
    for change in self.pending:
      if change.where != inode or change.kind == 'commit':
        left.append(change)
      elif change.kind == 'content':
        self._contents[inode] = change.what
      else:
        _apply(self._folders[inode], change.kind, change.what)
    self.pending = left
    self._forget_unreachable()

  def _forget_unreachable(self) -> None:
    """Drops what is pending below a folder that no image can show again."""
    children: dict[int, set[int]] = {}
    for folders in (self._seen, self._folders):
      for inode, names in folders.items():
        children.setdefault(inode, set()).update(names.values())
    for change in self.pending:
      if change.kind in ('link', 'move'):
        children[change.where].add(change.what[-1])
    found, left = {0}, [0]
    while left:
      new = children.get(left.pop(), set()) - found
      found |= new
      left += new
    self.pending = [change for change in self.pending if change.where in found]

  def _split(self, path: str) -> tuple[int, str]:
    folder, _, name = path.rpartition('/')
    return self._find(folder), name

  def _find(self, path: str) -> int:
    inode = 0
    for name in path.split('/') if path not in ('', '.') else ():
      inode = self._seen[inode][name]
    return inode


def _apply(names: dict[str, int], kind: str, what) -> None:
  if kind == 'link':
    names[what[0]] = what[1]
  elif kind == 'unlink':
    names.pop(what[0], None)
  else:
    old, new, inode = what
    names.pop(old, None)
    names[new] = inode


def _flat(folders, contents) -> dict[str, bytes | None]:
  found: dict[str, bytes | None] = {}

  def walk(inode, path):
    for name, child in folders[inode].items():
      if child in folders:
        found[f'{path}{name}'] = None
        walk(child, f'{path}{name}/')
      else:
        found[f'{path}{name}'] = contents.get(child, b'')

  walk(0, '')
  return found


class State(NamedTuple):
  """An image that a loss of power may leave, and what was promised before."""

  image: Image
  at: int  # steps of the trace before it
  promised: tuple[Any, ...]
  lasting: frozenset[str]  # paths that were durable at some time before


def states(
  trace: Sequence[Op], *, most: int = 2, every: int = 1
) -> Iterator[State]:
  """States after each prefix of a trace; some are alike.

  Args:
    trace: of a `Recorder`.
    most: pending operations that are lost, or arrive alone.
    every: so many are passed over for one that is given.
  """
  model, number = Model(), itertools.count()
  promised, lasting = (), frozenset()
  for at in range(len(trace) + 1):
    chosen = tuple(range(len(model.pending)))
    for some in model.subsets(most):
      if next(number) % every == 0:
        yield State(model.image(some), at, promised, lasting)
    for torn in model.torn():
      for some in (chosen, (torn.at,), *_without(chosen, torn.at)):
        if next(number) % every == 0:
          yield State(model.image(some, torn), at, promised, lasting)
    if at < len(trace):
      model.play(trace[at])
      if trace[at].kind == 'promise':
        promised = (*promised, trace[at].what)
      elif trace[at].kind == 'sync':
        lasting = lasting.union(model.image(()).files)


def _without(chosen: tuple[int, ...], kept: int) -> Iterator[tuple[int, ...]]:
  """All but one, which is not `kept`."""
  for at in chosen:
    if at != kept:
      yield tuple(other for other in chosen if other != at)


def without(
  trace: Sequence[Op], drop: Callable[[Op, Sequence[Op]], bool]
) -> list[Op]:
  """The trace of a program that left out some syncs.

  `drop` is asked about each sync, with the steps before it, the last first.
  """
  return [
    op
    for at, op in enumerate(trace)
    if op.kind != 'sync' or not drop(op, trace[:at][::-1])
  ]


def lay_out(image: Image, ledgers: Sequence[bytes], root: pathlib.Path) -> None:
  """Makes real folders and files of an image."""
  for path, content in image.files.items():
    if content is None:
      (root / path).mkdir()
    else:
      (root / path).write_bytes(content)
  if image.ledger:
    (root / 'system' / 'ledger.sqlite').write_bytes(ledgers[image.ledger])
