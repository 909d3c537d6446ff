"""What public code of the methods that train gets wrong, and ours must not."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special

from unlearn_jax import errors, keys, losses, registry, trees, types
from unlearn_jax.unlearners import (
  _blocks,
  _parts,
  _passes,
  _relabeling,
  _teaching,
  boundary_expand,
  boundary_shrink,
  convolution_transpose,
  l1_sparse,
  msg,
  scrub_rewind,
  sfr_on,
  unsir,
)

CLASSES, INPUTS = 4, 5
MLP = registry.make('models', 'mlp', num_outputs=CLASSES, hidden=[6])
CNN = registry.make(
  'models', 'cnn', num_outputs=CLASSES, widths=[3, 4], hidden=6
)
KEY = keys.root(3)


def rows(count, padding=0, seed=0, shape=(INPUTS,)):
  """Rows with labels that can be learned, and padding that must not matter."""
  rng, n = np.random.default_rng(seed), count + padding
  x = rng.normal(size=(n, *shape)).astype(np.float32)
  y = x.reshape(n, -1)[:, :CLASSES].argmax(-1).astype(np.int32)
  x[count:] = 50.0
  ids = keys.id_words(np.arange(n) + 1000 * seed)
  weight = (np.arange(n) < count).astype(np.float32)
  return jax.tree.map(
    jnp.asarray, _passes.Rows(x, y, ids, weight, np.int32(count))
  )


def data(forget=None, retain=None, **fields):
  return _passes.Data(
    forget=rows(3, 1, seed=1) if forget is None else forget,
    retain=rows(12, 3, seed=2) if retain is None else retain,
    control=rows(9, 0, seed=3),
    task=types.Task('classification', CLASSES),
    **fields,
  )


def start(model=MLP, shape=(INPUTS,), seed=0):
  return model.init(keys.root(seed), jnp.zeros((1, *shape)))


@functools.cache
def trained():
  """A model that knows both sets."""
  everything = data(retain=_passes.join(rows(3, seed=1), rows(12, seed=2)))
  return run(
    'finetune', start(), everything, learning_rate=0.3, epochs=60, batch_size=8
  )


def run(name, params, given, model=MLP, key=KEY, **settings):
  """What a method makes, with nothing around it that could mend it."""
  unlearn = registry.get('unlearners', name).unlearn
  forget, retain, control, kept = (
    given.forget,
    given.retain,
    given.control,
    given.kept,
  )

  @jax.jit
  def program(params, forget, retain, control, kept):
    inside = dataclasses.replace(
      given, forget=forget, retain=retain, control=control, kept=kept, read=[]
    )
    return unlearn(model, params, inside, key, **settings)

  return jax.device_get(program(params, forget, retain, control, kept))


def moved(before, after):
  before, after = (trees.flatten(jax.device_get(t)) for t in (before, after))
  return {
    path: before[path].view(np.uint32) != after[path].view(np.uint32)
    for path in before
  }


def near(left, right, **tolerance):
  left, right = trees.flatten(left), trees.flatten(right)
  return all(np.allclose(left[p], right[p], **tolerance) for p in left)


@pytest.mark.parametrize(
  'name',
  [
    'finetune',
    'l1_sparse',
    'random_label',
    'scrub',
    'sfr_on',
    *(
      pytest.param(name, marks=pytest.mark.slow)
      for name in (
        'amnesiac',
        'bad_teacher',
        'boundary_expand',
        'boundary_shrink',
        'cf_k',
        'eu_k',
        'gradient_ascent',
        'msg',
        'neg_grad_plus',
        'retrain',
        'salun',
        'unsir',
      )
    ),
  ],
)
def test_a_mask_leaks_through_neither_momentum_nor_decay(name):
  rng, before = np.random.default_rng(0), jax.device_get(trained())
  kept = {
    path: jnp.asarray(rng.random(leaf.shape) < 0.4)
    for path, leaf in trees.flatten(before).items()
  }
  # 12 rows in batches of 4, or 3 rows in one: at least 50 steps of each kind.
  after = run(name, before, data(kept=kept), epochs=50, batch_size=4)
  changed = moved(before, after)
  for path, keep in kept.items():
    assert not changed[path][~keep].any()
  assert sum(each.sum() for each in changed.values()) > 5


@pytest.mark.parametrize('form', ['wrong', 'legacy'])
def test_salun_moves_the_salient_half_and_not_a_bit_more(form):
  before = jax.device_get(trained())
  after = run(
    'salun', before, data(), epochs=20, batch_size=4, form=form
  )  # 80 steps
  forget = rows(3, seed=1)

  def loss(params):
    return losses.cross_entropy(MLP.apply(params, forget.x), forget.y).sum()

  pull = trees.flatten(jax.grad(loss)(before))
  size = trees.count(before)
  line = np.sort(np.abs(np.concatenate([g.ravel() for g in pull.values()])))
  line = line[size - round(0.5 * size)]
  changed = moved(before, after)
  assert 0.4 * size < sum(each.sum() for each in changed.values())
  for path, each in changed.items():
    assert not each[np.abs(pull[path]) < line * (1 - 1e-4)].any()


def test_the_smallest_part_is_exact_with_ties_and_among_some():
  scores = jnp.zeros((4, 5)).at[0].set(-1.0)
  found = _parts.smallest(scores, 0.5)
  assert found.sum() == 10 and found[0].all()
  among = jnp.arange(20).reshape(4, 5) >= 5
  found = _parts.smallest(scores, 1 / 3, among)
  assert found.sum() == 5 and not found[0].any()


def test_l1_makes_zeros_that_stay_and_shrinks_kernels_only():
  shape = (8, 8, 1)
  given = data(
    forget=rows(3, seed=1, shape=shape), retain=rows(12, seed=2, shape=shape)
  )
  before = start(CNN, shape)
  one_step = {'momentum': 0.0, 'weight_decay': 0.0, 'epochs': 1, 'free': 0.5}
  for form, spared in (('proximal', True), ('legacy', False)):
    by_penalty = [
      trees.flatten(
        run(
          'l1_sparse',
          before,
          given,
          CNN,
          penalty=p,
          form=form,
          batch_size=16,
          **one_step,
        )
      )
      for p in (0.0, 1.0)
    ]
    for path in by_penalty[0]:
      same = np.array_equal(*(found[path] for found in by_penalty))
      # The biases are 0, where the sub-gradient is 0 too.
      if path.endswith('scale'):
        assert same == spared
      if path.endswith('kernel'):
        assert not same


def test_l1_zeros_outlive_the_penalty_and_the_published_form_has_none():
  before = start()

  def zeros(form, schedule='linear'):
    after = run(
      'l1_sparse',
      before,
      data(),
      penalty=2.0,
      form=form,
      schedule=schedule,
      free=0.5,
      epochs=40,
      batch_size=4,
    )
    kernels = [
      leaf for path, leaf in trees.flatten(after).items() if 'kernel' in path
    ]
    return np.mean(np.concatenate([(k == 0).ravel() for k in kernels]))

  assert 0.3 < zeros('proximal') < 1
  assert zeros('proximal') < zeros('proximal', 'constant')
  assert zeros('legacy') == 0


def test_l1_support_is_frozen_when_the_penalty_is_gone():
  weights = {'kernel': jnp.array([0.3, -0.2, 2.0])}
  optimizer = l1_sparse._shrinking(
    optax.sgd(0.1, 0.9), 0.1, lambda count: jnp.where(count < 10, 1.0, 0.0)
  )
  state, pull = optimizer.init(weights), {'kernel': jnp.array([0.5, 0.1, 3.0])}
  zero = []
  for i in range(20):
    towards = pull if i < 10 else jax.tree.map(lambda g: -9.0 * g, pull)
    updates, state = optimizer.update(towards, state, weights)
    weights = optax.apply_updates(weights, updates)
    if i >= 10:
      zero.append(np.asarray(weights['kernel'] == 0))
  assert zero[0].any() and (np.array(zero) == zero[0]).all()


@pytest.mark.parametrize('epochs', [1, 4])
def test_a_wrong_label_is_new_and_never_the_true_one(epochs):
  many = rows(4000)
  drawn = [
    np.asarray(_relabeling.drawn(many, CLASSES, keys.root(i), 'wrong'))
    for i in range(epochs)
  ]
  true = np.asarray(many.y)
  for labels in drawn:
    assert (labels != true).all() and labels.dtype == true.dtype
    counts = np.bincount((labels - true) % CLASSES, minlength=CLASSES)[1:]
    assert (np.abs(counts / 4000 - 1 / 3) < 0.03).all()
  published = _relabeling.drawn(many, CLASSES, keys.root(0), 'legacy')
  assert abs(np.mean(np.asarray(published) == true) - 1 / CLASSES) < 0.03
  if epochs > 1:
    assert (drawn[0] != drawn[1]).mean() > 0.3


def test_what_goes_has_another_wrong_label_in_each_epoch(monkeypatch):
  asked = []
  plain = _relabeling.drawn

  def noted(mine, classes, key, form):
    labels = plain(mine, classes, key, form)
    jax.debug.callback(lambda y: asked.append(np.array(y)), labels)
    return labels

  monkeypatch.setattr(_relabeling, 'drawn', noted)
  run('random_label', trained(), data(), epochs=6, batch_size=4)
  jax.effects_barrier()
  assert len(asked) == 6
  assert len({tuple(labels[:3]) for labels in asked}) > 2


def test_the_divergence_is_that_of_each_example():
  rng = np.random.default_rng(0)
  student, teacher = rng.normal(size=(2, 7, 10))
  p, q = (scipy.special.softmax(z / 3.0, -1) for z in (teacher, student))
  by_hand = [sum(scipy.special.rel_entr(*pair)) for pair in zip(p, q)]  # noqa: B905
  found = _teaching.divergence(jnp.array(student), jnp.array(teacher), 3.0)
  np.testing.assert_allclose(found, by_hand, rtol=1e-4)


def scrub_by_hand(params, given, order, rate=0.05, decay=1e-3):
  """SCRUB on whole sets: `order` of passes, all by one optimizer."""
  optimizer = optax.chain(
    optax.add_decayed_weights(decay), optax.sgd(rate, 0.9)
  )
  goes, stays = (
    (part.x[: int(part.count)], part.y[: int(part.count)])
    for part in (given.forget, given.retain)
  )

  def apart(params, x):
    was, now = (
      jax.nn.log_softmax(MLP.apply(p, x) / 2) for p in (before, params)
    )
    return 4 * jnp.mean(jnp.sum(jnp.exp(was) * (was - now), -1))

  def maximum(params):
    return -apart(params, goes[0])

  def minimum(params):
    ce = losses.cross_entropy(MLP.apply(params, stays[0]), stays[1]).mean()
    return 0.9 * ce + 0.3 * apart(params, stays[0])

  before, state = params, optimizer.init(params)
  for turn in order:
    gradient = jax.grad(maximum if turn == 'max' else minimum)(params)
    updates, state = optimizer.update(gradient, state, params)
    params = optax.apply_updates(params, updates)
  return params


SCRUB = {
  'learning_rate': 0.05,
  'weight_decay': 1e-3,
  'imitation': 0.3,
  'labels': 0.9,
  'temperature': 2.0,
  'forget_batch_size': 16,
  'batch_size': 16,
}


@functools.cache
def beginner():
  """Where a model fits its data, SCRUB's gradients are next to nothing."""
  return run(
    'finetune', start(), data(), learning_rate=0.1, epochs=5, batch_size=8
  )


def test_scrub_takes_turns_and_stops_ascending():
  before = beginner()
  digest = trees.digest(before)
  after = run('scrub', before, data(), ascents=2, epochs=4, **SCRUB)
  by_hand = functools.partial(scrub_by_hand, before, data())
  turns = ['max', 'min', 'max', 'min', 'min', 'min']
  assert near(after, by_hand(turns), rtol=1e-3, atol=1e-5)
  for wrong in (sorted(turns), ['max', 'min'] * 4, ['min'] * 4):
    assert not near(after, by_hand(wrong), rtol=1e-3, atol=1e-5)
  assert trees.digest(before) == digest  # the teacher's
  assert all(each.any() for p, each in moved(before, after).items())


def test_scrub_leaves_its_teacher_on_what_goes():
  before, goes, far = beginner(), rows(3, seed=1).x, {}
  for ascents in (0, 5):
    settings = {**SCRUB, 'learning_rate': 0.1, 'ascents': ascents, 'epochs': 6}
    after = run('scrub', before, data(), **settings)
    far[ascents] = _teaching.divergence(
      MLP.apply(after, goes), MLP.apply(before, goes)
    ).mean()
  assert far[5] > 1.5 * far[0]


def test_scrub_rewinds_to_the_epoch_that_errs_as_on_unseen_rows():
  before, given, epochs = trained(), data(), 6
  settings = {**SCRUB, 'learning_rate': 0.25, 'ascents': 5}

  def error(params, part, weight):
    wrong = 1 - losses.correct(MLP.apply(params, part.x), part.y)
    return float(
      jnp.sum(jnp.where(weight > 0, wrong * weight, 0)) / weight.sum()
    )

  every = [
    run('scrub', before, given, epochs=e + 1, **settings) for e in range(epochs)
  ]
  weight = np.zeros(9, np.float32)
  goes, seen = (np.asarray(part.y) for part in (given.forget, given.control))
  for label in goes[:3]:
    same = seen == label
    weight[same] += 1 / same.sum()
  target = error(every[-1], given.control, weight)
  found = [error(p, given.forget, given.forget.weight) for p in every]
  best = int(np.argmin(np.abs(np.array(found) - target)))
  after = run('scrub_rewind', before, given, epochs=epochs, **settings)
  assert near(after, every[best], rtol=1e-3, atol=1e-4)
  assert not near(after, every[-1], rtol=1e-3, atol=1e-4), found


def test_control_rows_are_matched_by_class():
  def of(labels):
    return rows(len(labels))._replace(y=jnp.array(labels))

  weight = scrub_rewind._matched(of([0, 0, 1, 2]), of([0, 1, 1, 3]), CLASSES)
  np.testing.assert_allclose(weight, [0.5, 0.5, 2.0, 0.0])


@pytest.mark.parametrize('distance', [0.0, 0.1])
def test_a_boundary_neighbor_is_never_the_true_class(distance):
  many = data(forget=rows(12, seed=2))
  found = boundary_shrink.neighbors(MLP, trained(), many, distance)
  logits = np.array(MLP.apply(trained(), many.forget.x))
  true = np.asarray(many.forget.y)
  # The model is right about most of them, so that its answer would be wrong.
  assert (logits.argmax(-1) == true).mean() > 0.8
  assert (np.asarray(found) != true).all()
  if not distance:
    logits[np.arange(12), true] = -np.inf
    assert np.array_equal(found, logits.argmax(-1))


def test_the_extra_class_is_one_more_output_and_trains():
  params, given = trained(), data()
  extra = boundary_expand._output(MLP, params, given.forget.x, KEY)
  wider = boundary_expand._wider(MLP)
  x = rows(3, seed=1).x
  found = wider.apply({**params, 'extra_class': extra}, x)
  assert found.shape == (3, CLASSES + 1)
  np.testing.assert_array_equal(found[:, :-1], MLP.apply(params, x))
  settings = {'learning_rate': 0.1, 'epochs': 40, 'batch_size': 4}
  after = run('boundary_expand', params, given, **settings)
  was, now = (MLP.apply(p, x).max(-1).mean() for p in (params, after))
  assert now < was  # what goes went where none of the classes is


EVERY_ROW = (
  'random_label',
  'salun',
  'amnesiac',
  'neg_grad_plus',
  'scrub',
  'bad_teacher',
  'sfr_on',
)


@pytest.mark.parametrize('name', EVERY_ROW)
def test_every_row_is_read(name):
  settings = {'epochs': 1, 'batch_size': 5}
  if name == 'bad_teacher':
    settings['part'] = 1.0
  if name == 'sfr_on':
    settings['every'] = 1
  unlearn = registry.get('unlearners', name).unlearn

  @jax.jit
  def finite(given):
    forget, retain = given
    inside = data(forget=forget, retain=retain)
    after = unlearn(MLP, trained(), inside, KEY, **settings)
    leaves = jax.tree.leaves(after)
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in leaves]).all()

  sets = data()
  assert finite((sets.forget, sets.retain))
  for which, part in enumerate((sets.forget, sets.retain)):
    for i in range(int(part.count)):
      poisoned = [sets.forget, sets.retain]
      poisoned[which] = part._replace(x=part.x.at[i].set(jnp.nan))
      assert not finite(tuple(poisoned)), f'row {i} was not read'


@pytest.mark.parametrize(
  'name', ['salun', 'scrub_rewind', 'bad_teacher', 'msg']
)
def test_padding_does_not_matter(name):
  def filled(part, value):
    padding = part.weight[:, None] == 0
    return part._replace(x=jnp.where(padding, value, part.x))

  found = [
    run(
      name,
      trained(),
      data(
        forget=filled(rows(3, 1, seed=1), value),
        retain=filled(rows(12, 3, seed=2), value),
      ),
      epochs=2,
      batch_size=5,
    )
    for value in (50.0, -1.0)
  ]
  assert trees.bit_diff(*found).equal


def counting_model():
  """One linear layer, and the running mean of the inputs as statistics."""

  def init(key, x):
    return {
      'head': {'kernel': jax.random.normal(key, (x.shape[-1], CLASSES))},
      'stats': {'mean': jnp.zeros(x.shape[-1])},
    }

  def forward(params, x, *, key=None, train=False, weight=None):
    del key
    logits = (x - params['stats']['mean'][None]) @ params['head']['kernel']
    stats = None
    if train:
      mean = jnp.sum(x * weight[:, None], 0) / jnp.maximum(weight.sum(), 1.0)
      stats = {'mean': 0.9 * params['stats']['mean'] + 0.1 * mean}
    return types.Forward(logits, x, stats)

  return types.Model(init=init, forward=forward)


@pytest.mark.parametrize(
  ('name', 'form', 'stay'),
  [
    ('gradient_ascent', None, True),
    ('boundary_shrink', None, True),
    ('boundary_expand', None, True),
    ('neg_grad_plus', None, True),
    ('scrub', None, True),
    ('sfr_on', None, True),
    ('random_label', 'wrong', True),
    ('salun', 'wrong', True),
    ('random_label', 'legacy', False),
  ],
)
def test_what_goes_moves_no_statistics(name, form, stay):
  model = counting_model()
  before = model.init(keys.root(0), jnp.zeros((1, INPUTS)))
  settings = {'epochs': 2, 'batch_size': 4} | ({'form': form} if form else {})
  found = []
  for scale in (1.0, 3.0):
    goes = rows(3, 1, seed=1)
    goes = goes._replace(x=scale * goes.x)
    after = run(name, before, data(forget=goes), model, **settings)
    found.append(after['stats']['mean'])
  assert np.array_equal(*found) == stay
  if not any(
    r.startswith('retain') for r in registry.get('unlearners', name).READS
  ):
    assert np.array_equal(found[0], before['stats']['mean'])


def test_msg_draws_a_share_of_each_kernel_anew():
  shape = (8, 8, 1)
  given = data(
    forget=rows(3, seed=1, shape=shape), retain=rows(12, seed=2, shape=shape)
  )
  before = start(CNN, shape)
  anew = msg._weakest(CNN, before, given, keys.stream(KEY, 'rows'), 0.3)
  assert sorted(anew) == ['conv_0/kernel', 'conv_1/kernel']
  # Nothing else has moved before it is trained.
  after = run('msg', before, given, CNN, learning_rate=0.0, epochs=1)
  changed = moved(before, after)
  for path, each in changed.items():
    expected = anew[path] if path in anew else np.zeros(each.shape, bool)
    assert np.array_equal(each, expected)
    if path in anew:
      assert each.sum() == round(0.3 * each.size)
  dense = msg._weakest(MLP, start(), data(), KEY, 0.3)
  assert list(dense) == ['layer_0/kernel']
  linear = dataclasses.replace(MLP, trainable=lambda path: 'head' in path)
  with pytest.raises(errors.ConfigError, match='head/kernel'):
    msg._weakest(linear, start(), data(), KEY, 0.3)


def test_a_swap_moves_kernels_and_two_do_not():
  before = start(CNN, (8, 8, 1))
  once = convolution_transpose.swapped(CNN, before)
  changed = {path for path, each in moved(before, once).items() if each.any()}
  assert changed == {'conv_0/kernel', 'conv_1/kernel'}
  twice = convolution_transpose.swapped(CNN, once)
  assert trees.bit_diff(twice, before).equal


def test_what_has_no_square_window_is_refused():
  with pytest.raises(errors.ConfigError, match='layer_0/kernel'):
    run('convolution_transpose', start(), data())
  before = start(CNN, (8, 8, 1))
  kernel = before['conv_1']['kernel']
  before['conv_1'] = {**before['conv_1'], 'kernel': kernel[:2]}
  with pytest.raises(errors.ConfigError, match='conv_1/kernel'):
    convolution_transpose.swapped(CNN, before)


def test_blocks_are_in_the_order_of_the_forward_pass():
  x = jnp.zeros((1, 8, 8, 1))
  inside = dataclasses.replace(CNN, forward=jax.jit(CNN.forward))
  for model in (CNN, inside):
    assert _blocks.in_order(model, start(CNN, x.shape[1:]), x) == [
      ('conv_0', 'norm_0'),
      ('conv_1', 'norm_1'),
      ('hidden',),
      ('head',),
    ]


@pytest.mark.parametrize('name', ['cf_k', 'eu_k'])
def test_only_the_last_blocks_move(name):
  shape = (8, 8, 1)
  given = data(
    forget=rows(3, seed=1, shape=shape), retain=rows(12, seed=2, shape=shape)
  )
  before = start(CNN, shape)
  after = run(name, before, given, CNN, blocks=2, epochs=1)
  changed = {
    path.split('/')[0] for path, m in moved(before, after).items() if m.any()
  }
  assert changed == {'hidden', 'head'}
  for wrong in (0, 5):
    with pytest.raises(errors.ConfigError, match=f'1..4.*got {wrong}'):
      run(name, before, given, CNN, blocks=wrong)


def test_a_new_start_forgets_the_old_weights():
  settings = {'epochs': 3, 'batch_size': 8}
  for name, more in (('retrain', {}), ('eu_k', {'blocks': 2})):
    found = [
      run(name, params, data(), **settings, **more)
      for params in (trained(), start(seed=5))
    ]
    assert trees.bit_diff(*found).equal
  one = run('eu_k', trained(), data(), **settings, blocks=1)
  changed = moved(trained(), one)
  assert not changed['layer_0/kernel'].any() and changed['head/kernel'].all()
  other = run('retrain', trained(), data(), key=keys.root(4), **settings)
  assert not near(other, found[0])


def test_neg_grad_plus_weighs_both_and_holds_to_the_start():
  settings = {'epochs': 4, 'batch_size': 8, 'learning_rate': 0.05}
  before, goes = beginner(), rows(3, seed=1)

  def lost(**more):
    after = run('neg_grad_plus', before, data(), **settings, **more)
    logits = MLP.apply(after, goes.x)
    return after, losses.cross_entropy(logits, goes.y).mean()

  alone, kept = lost(balance=1.0)
  plain = run('finetune', before, data(), weight_decay=0.0, **settings)
  assert near(alone, plain, rtol=1e-4, atol=1e-5)
  some, more = lost(balance=0.5)
  assert more > 1.2 * kept
  tied, less = lost(balance=0.5, anchor=5.0)
  assert less < more


def test_sfr_counts_what_is_badly_answered_less():
  loss, weight = jnp.array([0.25, 4.0, 9.0]), jnp.array([1.0, 1.0, 0.0])
  # Roots of the inverse are 2 and 1/2, their mean 5/4.
  np.testing.assert_allclose(
    sfr_on._even(loss, weight)[:2], [0.25 * 1.6, 4 * 0.4], rtol=1e-5
  )


def test_unsir_noise_is_what_the_model_takes_least_for_the_class():
  given, params = data(), trained()
  blank = dataclasses.replace(given, forget=given.forget._replace(x=None))
  noise = [
    unsir._noise(MLP, params, blank, KEY, rate=0.1, steps=n, flatness=0.1)[:3]
    for n in (0, 40)
  ]
  before, after = (
    losses.cross_entropy(MLP.apply(params, x), given.forget.y[:3]).mean()
    for x in noise
  )
  assert after > before + 1
