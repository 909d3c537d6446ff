"""The page says what the rows say, needs nothing else, and escapes all names."""

import html.parser
import json
import re
import subprocess
import sys

import numpy as np
import pytest

from tests.exact import tiny
from unlearn_jax import errors, files, operations
from unlearn_jax.study.report import page, picture, tables

HOSTILE = '<script>alert("x")</script> & co'
METHODS = ('fresh oracles', 'do nothing', 'finetune', HOSTILE)
_VOID = {'meta', 'br', 'hr', 'img', 'link', 'input'}


class _Checker(html.parser.HTMLParser):
  """Balanced tags, what is loaded, and the words of the page."""

  def __init__(self):
    super().__init__()
    self.open, self.loaded, self.ids, self.links = [], [], [], []
    self.words, self.scripts, self.heads = [], 0, 0

  def handle_starttag(self, tag, attrs):
    found = dict(attrs)
    assert len(found) == len(attrs), f'{tag} has an attribute twice: {attrs}'
    self.loaded += [found[k] for k in ('src', 'data', 'srcset') if k in found]
    if 'href' in found:
      self.links.append(found['href'])
    if 'id' in found:
      self.ids.append(found['id'])
    self.scripts += tag == 'script'
    self.heads += tag == 'th'
    if tag not in _VOID:
      self.open.append(tag)

  def handle_endtag(self, tag):
    assert self.open and self.open.pop() == tag, f'unbalanced </{tag}>'

  def handle_data(self, data):
    self.words.append(data)


def _checked(folder):
  text = (folder / 'report.html').read_text()
  found = _Checker()
  found.feed(text)
  found.close()
  assert not found.open, found.open
  assert not found.loaded
  assert all(link[0] == '#' and link[1:] in found.ids for link in found.links)
  assert len(found.ids) == len(set(found.ids))
  assert not re.search(r'https?://|@import|url\(', text)
  assert found.scripts == 1  # ours, that sorts
  assert found.heads
  assert 'prefers-color-scheme:dark' in text
  assert text.count('<svg') == text.count('</svg>') >= 1
  return text, ''.join(found.words)


def _row(method, name, value, *, floor, **more):
  return {
    'arena': 'dense',
    'kind': more.pop('kind', 'random'),
    'forget set': more.pop('of', 'random 1'),
    'method': method,
    'metric': name,
    'value': value,
    'low': value - 0.25,
    'high': value + 0.25,
    'floor': floor,
    'at floor': value <= floor[2],
    'ideal': 0.0,
    **more,
  }


def _rows(kind='random'):
  """Of a benchmark with all that a page can show."""
  rng, rows, of = np.random.default_rng(0), [], f'{kind} 1'
  forgotten = [0.0, 1.0, 0.0] if kind == 'class' else [0.1, 0.1, 0.1]
  for i, method in enumerate(METHODS):
    kept = {'kind': kind, 'of': of}
    if i > 1:
      trials = [{'learning_rate': 0.125, 'gap': 1.5}, {'gap': 2.5}]
      kept |= {'tuned': {'learning_rate': 0.125}, 'trials': trials}
    for name in ('gap', 'KLoM forget', 'told apart', 'UA', 'TA', 'relearn'):
      more = {}
      if name == 'KLoM forget':
        margins = rng.normal(size=(2, 4, 12)).tolist()
        more['margins'] = dict(
          zip(('unlearned', 'oracles'), margins, strict=True)
        )
      if name == 'TA':
        more['per class'] = {
          'unlearned': [90.0, 10.0 + i, 'NaN'],
          'oracles': [90.5, 0.0, 'NaN'],
          'forgotten': forgotten,
        }
      if name == 'relearn':
        curves = {k: [2.0, 1.0, 0.5] for k in ('oracles', 'original')}
        more['curves'] = {**curves, 'unlearned': [1.5, 1.0, 0.5]}
      value = 1.25 + 2 * i
      floor = [0.5, 0.0, 2.0]
      rows.append(_row(method, name, value, floor=floor, **kept, **more))
    if i > 1:
      cost = {'metric': 'cost', 'value': 0.0625, 'gradients': 0.375}
      cost |= {'seconds': 3.0, 'compile seconds': 1.0}
      rows.append({**rows[-1], **cost})
      for name in ('low', 'high', 'floor', 'at floor', 'ideal', 'curves'):
        rows[-1].pop(name)
  lost = {'arena': 'dense', 'kind': kind, 'forget set': of}
  return [*rows, {**lost, 'method': 'lost', 'metric': 'diverged', 'tuned': {}}]


def _benchmark(folder, rows):
  folder.mkdir(exist_ok=True)
  lines = (json.dumps(files.to_json(row)) + '\n' for row in rows)
  (folder / 'rows.jsonl').write_text(''.join(lines))
  summary = {
    'study': 'benchmark',
    'models': 12,
    'few': 3,
    'trials': 2,
    'seconds': 12.5,
    'config': 'c0ffee' * 8,
    'device': 'a machine',
  }
  files.write_json(folder / 'benchmark.json', summary)
  run = {'argv': ['experiments/benchmark.py', '--config=x.py'], 'git': None}
  files.write_json(folder / 'run.json', {**run, 'versions': {'jax': '9.9.9'}})
  files.write_json(folder / 'config.json', {'seed': 4242})
  return folder


@pytest.fixture(scope='module')
def benchmark(tmp_path_factory):
  folder = tmp_path_factory.mktemp('page') / 'b'
  _benchmark(folder, _rows() + _rows('class'))
  return folder, page.write(str(folder))


def test_a_benchmark_is_one_whole_page(benchmark):
  folder, found = benchmark
  _, words = _checked(folder)
  for said in ('0 of 3 methods', 'How to reproduce', '4242', '9.9.9', 'c0ffee'):
    assert said in words or said in found['lead'][0], said
  assert 'diverged' in words
  assert 'python experiments/benchmark.py --config=x.py' in words


def test_numbers_on_the_page_are_those_of_the_rows(benchmark):
  text, _ = _checked(benchmark[0])
  board = text[text.index('Leaderboard') : text.index('</table>')]
  lines = re.findall('<tr.*?</tr>', board)[1:]
  assert len(lines) == 5
  for i, method in ((0, 'fresh'), (1, 'finetune'), (3, 'lost'), (4, 'nothing')):
    assert method in lines[i], 'best first, between the two that frame it'
  gap = re.findall(r'<td[^>]*data-v="5.25".*?</td>', lines[1])
  assert '5.25<small>5.00 to 5.50</small>' in gap[0]
  assert 'sign' not in gap[0] and 'class="sign">= <' in lines[0]
  assert '0.062<small>0.38 in gradients' in lines[1]
  assert '0 of 6' in lines[1] and '= 6 of 6' in lines[0]


def test_names_are_escaped(benchmark):
  text, words = _checked(benchmark[0])
  assert HOSTILE not in text and HOSTILE in words


def test_details_are_there(benchmark):
  text, words = _checked(benchmark[0])
  assert 'class 1 (forgotten)' in words
  assert tables.number(-0.5, signed=True) in words
  assert text.count('class 1 (forgotten)') == 1, 'only where a class went'
  assert 'learning_rate: 0.12' in words
  for title in (
    'Margins of forgotten',
    'is learned again',
    'Forgetting, utility',
  ):
    assert title in words


def test_pictures_are_files_too(benchmark):
  pictures = benchmark[1]['pictures']
  assert len(pictures) == len(set(pictures)) == 10
  for path in pictures:
    with open(path, 'rb') as file:
      assert file.read(4) == b'\x89PNG'


def test_a_page_of_what_few_metrics_say(tmp_path):
  rows = [row for row in _rows() if row['metric'] == 'UA']
  page.write(str(_benchmark(tmp_path / 'b', rows)))
  _, words = _checked(tmp_path / 'b')
  assert 'ordered by UA' in words and 'is learned again' not in words


def test_a_study_of_matching(tmp_path):
  rng, splits = np.random.default_rng(0), ('forget', 'retain', 'validation')
  rows, names = [], ('fresh oracles', 'do nothing', HOSTILE)
  for i, method in enumerate(names):
    numbers = {'mean': 7.89 + i, 'low': 7.5 + i, 'high': 8.5 + i, 'floor': 8.0}
    columns = {name: numbers for name in (*splits, 'told apart')}
    row = {'forget set': 'random', 'method': method, 'seconds a model': None}
    rows.append({**row, **columns})
  summary = {'study': 'matching', 'rows': rows, 'seeds': [7], 'models': 10}
  files.write_json(tmp_path / 'benchmark.json', summary)
  points = {n: rng.normal(size=(3, 10)) for n in ('oracles', *names)}
  curves = {n: {s: np.arange(101.0) for s in splits} for n in names}
  kept = {'points': {'random': points}, 'curves': {'random': curves}}
  files.write_json(tmp_path / 'seed_7.json', kept)
  found = page.write(str(tmp_path))
  text, words = _checked(tmp_path)
  assert '9.89<small>9.50 to 10.5</small>' in text
  assert '0 of 1 methods' in found['lead'][0]
  assert HOSTILE in words and HOSTILE not in text
  assert len(found['pictures']) == 2


@pytest.fixture(scope='module')
def system(tmp_path_factory):
  folder = tmp_path_factory.mktemp('page') / 's'
  operations.train(tiny.DIGITS, str(folder))
  gone = operations.delete(str(folder), ids=['3', '174'])['gone']
  operations.repair(str(folder))
  operations.audit(str(folder), 'E1')
  operations.delete(str(folder), ids=['11'])
  return folder, gone


def test_an_exact_system(system):
  folder, gone = system
  found = page.write(str(folder))
  _, words = _checked(folder)
  assert '2 requests deleted 3 examples' in found['lead'][0]
  assert '1 request waits for repair' in found['lead'][0]
  assert 'The last audit (E1) passed' in found['lead'][1]
  assert f'delete: {len(gone)} gone' in words
  assert '1,437' in words and 'linear' in words


def test_history_is_of_counts_alone(system):
  folder, gone = system
  text = (folder / 'history.jsonl').read_text()
  lines = [json.loads(line) for line in text.splitlines()]
  kinds = ['train', 'delete', 'repair', 'audit', 'delete']
  assert [line['what'] for line in lines] == kinds
  assert lines[1]['gone'] == len(gone) == lines[2]['trained']
  assert lines[0]['depths'] == lines[2]['depths'] == [2, 2]
  times = re.compile(r'\d+\.\d+(e-\d+)?')  # may have any digits
  assert lines[1]['deleted'] == 2 and '174' not in times.sub('', text)


def test_a_page_is_nothing_that_an_erasure_has_left(system):
  folder, _ = system
  page.write(str(folder))
  left = operations.audit(str(folder), 'E3')['residue']
  assert not [line for line in left if 'not of this system' in line]


def test_what_is_nothing_known_is_refused(tmp_path):
  for folder in (tmp_path, tmp_path / 'nowhere'):
    with pytest.raises(errors.WorkdirError, match='looked for benchmark.json'):
      page.write(str(folder))
    assert not folder.exists() or not list(folder.iterdir())
  files.write_json(tmp_path / 'benchmark.json', {'study': 'of the weather'})
  with pytest.raises(errors.UnknownName, match='of the weather'):
    page.write(str(tmp_path))
  (tmp_path / 'benchmark.json').write_text('{')
  with pytest.raises(errors.WorkdirError, match='damaged'):
    page.write(str(tmp_path))


def test_numbers_are_read_by_people():
  assert tables.number(0.0) == '0'
  assert tables.number(-1234.5) == '−1,234'
  assert tables.number(3.14159, signed=True) == '+3.14'
  assert tables.number(float('nan')) == '–'
  assert tables.number(2e-5) == '2e−5'


@pytest.mark.parametrize('scale', ['linear', 'log', 'signed'])
def test_scales_go_there_and_back(scale):
  values = np.array([0.01, 1.0, 250.0])
  there = picture.moved(scale, values)
  assert (np.diff(there) > 0).all()
  np.testing.assert_allclose(picture.back(scale, there), values, rtol=1e-9)
  low, high = there[0], there[-1]
  found = list(picture.ticks(picture.Axis(scale=scale), low, high))
  assert 3 <= len(found) <= 8 and found == sorted(found)
  assert all(low <= picture.moved(scale, tick) <= high for tick in found)


def test_pages_need_no_matplotlib_before_a_picture_is_drawn():
  code = (
    'import sys; from unlearn_jax.study.report import page;'
    'sys.exit("matplotlib" in sys.modules)'
  )
  assert subprocess.run([sys.executable, '-c', code]).returncode == 0
