"""What a stage carries on must survive the store, leaves or no leaves."""

from tests.exact import layouts
from unlearn_jax.exact import system as system_lib


def test_a_stage_goes_on_from_a_stored_one_without_optimizer_leaves(tmp_path):
  # Plain SGD has no state but the step count, which the dropout depends on.
  layouts.write(tmp_path / 'data.npz')
  config = layouts.config(
    'mlp',
    tmp_path / 'data.npz',
    optimizer={'name': 'sgd', 'learning_rate': 0.1},
    sequences={'kind': 'cyclic', 'budget': 1},
    shards=1,
  )
  folder = str(tmp_path / 'system')
  system = system_lib.System.create(folder, config)
  system.train()
  last = system._records.ids[system._records.slice == 1][:2]
  system.delete(ids=last.tolist())
  system.close()
  system = system_lib.System.open(folder)
  assert system.repair() == 1
  assert system.audit('E2').passed
  system.close()
