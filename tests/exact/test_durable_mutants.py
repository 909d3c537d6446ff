"""Defects of what is kept, said and erased, each seen by a fast test.

Those of training and naming stand in `test_mutants`, which also has some that
are counted here. What a power cut does to a file is tested elsewhere.

  defect                                     seen by
  M09 a superseded stage stays               test_spelling, links in a system
  M16 an id wraps around                     test_mutants, _ids_wrap_around
  M17 an id out of range is the last one     test_mutants, _ids_out_of_range..
  M18 a negative id counts from the end      test_mutants, _negative_ids_count..
  M27 one request in a hundred is skipped    test_streams, 100 requests
  M31 the model in memory is served on       test_interleavings
  M32 who left is known in memory only       test_interleavings
  M33 the ledger is written a call too late  test_interleavings
  M34 an earlier receipt is given again      test_ledger, names
  M34 a certificate of another log holds     test_certificates, the binary
  M35 twins leave together                   test_mutants, _twins_leave_together
  M36 a row of an owner stays                test_mutants, _one_row_of_an_owner..
  a writer that was shut out writes          test_interleavings
  who came back is still taken for gone      test_certificates, who came back
  a name is not remembered                   test_ledger, names
  a name may ask for anything                test_ledger, names
  a batch is done as far as it goes          test_ledger, batches
  times decide on the order                  test_ledger, states
  states are passed over                     test_ledger, states
  the chain is not looked at                 test_ledger, changed logs
  the head is not looked at                  test_ledger, logs linked anew
  what stands beside the log is not          test_ledger, other values
  the journal is not emptied                 test_ledger, nothing on disk
  pages are not overwritten                  test_ledger, nothing on disk
  any text is an id                          test_spelling
  each rule of the verifier, left out        test_certificates, test_absence
"""

import functools
import inspect

import pytest

from tests.exact import (
  certificates,
  test_absence,
  test_certificates,
  test_interleavings,
  test_ledger,
  test_spelling,
  test_streams,
)
from unlearn_jax import errors
from unlearn_jax.exact import books, chain, ledger, spelling, store
from unlearn_jax.exact import system as system_lib

# Fixtures of the tests that are run here.
lived, past = test_certificates.lived, test_ledger.past
simulated, spied = test_interleavings.simulated, test_interleavings.spied
verify = certificates.verify


def interleaved(tmp_path, spied, simulated):
  test_interleavings._run(tmp_path, range(15))


def streamed(tmp_path):
  test_streams.run(tmp_path, 100, 100)


def _superseded_stages_stay(patch):
  patch.setattr(store.Store, 'remove', lambda self, name: None)


def _one_request_in_a_hundred_is_skipped(patch):
  original, count = books.Books._deletion, []

  def deletion(self, found, answer):
    made = original(self, found, answer)
    count.append(made)
    return made._replace(ids=[], places=[]) if len(count) == 50 else made

  patch.setattr(books.Books, '_deletion', deletion)


def _the_model_in_memory_is_served_on(patch):
  patch.setattr(system_lib.System, '_follow', lambda self: None)


def _who_left_is_known_in_memory_only(patch):
  original = ledger.Ledger.delete

  def delete(self, deletions, facts):
    kept = [d._replace(ids=[], places=[]) for d in deletions]
    return original(self, kept, {**facts, 'roots': facts['before']})

  patch.setattr(ledger.Ledger, 'delete', delete)


def _the_ledger_is_written_a_call_too_late(patch):
  original, waiting = ledger.Ledger.delete, []

  def delete(self, deletions, facts):
    for earlier in waiting:
      original(self, *earlier)
    waiting[:] = [(deletions, facts)]
    return [self.last() + at for at, _ in enumerate(deletions, start=1)]

  patch.setattr(ledger.Ledger, 'delete', delete)


def _an_earlier_receipt_is_given_again(patch):
  def known(self, token, asked, seen):
    row = (
      self.ledger.held()
      ._db.execute(
        'select seq, asked, answer from requests where asked = ?', (asked,)
      )
      .fetchone()
    )
    return row and ledger.Known(row[0], row[1], ledger.json.loads(row[2]))

  patch.setattr(books.Books, '_known', known)


def _a_writer_that_was_shut_out_writes(patch):
  patch.setattr(ledger.Ledger, 'check_writer', lambda self: None)


def _who_came_back_is_taken_for_gone(patch):
  original = ledger.Ledger._among

  def among(self, query, values):
    return original(self, query.replace('back is null and', ''), values)

  patch.setattr(ledger.Ledger, '_among', among)


def _a_name_is_not_remembered(patch):
  patch.setattr(ledger.Ledger, 'known', lambda self, token: None)


def _a_name_may_ask_for_anything(patch):
  patch.setattr(books.Books, '_digest', lambda self, ids, owners: b'same')


def _a_batch_is_done_as_far_as_it_goes(patch):
  original = system_lib.System.delete_many

  def delete_many(self, asked):
    return [receipt for one in asked for receipt in original(self, [one])]

  patch.setattr(system_lib.System, 'delete_many', delete_many)


def _times_decide_on_the_order(patch):
  original = ledger.Ledger.delete

  def delete(self, deletions, facts):
    seqs = original(self, deletions, facts)
    times = {request.seq: request.accepted for request in self.requests()}
    return [max(times, key=times.get)] if len(seqs) == 1 else seqs

  patch.setattr(ledger.Ledger, 'delete', delete)


def _states_are_passed_over(patch):
  original = ledger.Ledger._among

  def among(self, query, values):
    some = 'from requests' in query
    return set(values) if some else original(self, query, values)

  patch.setattr(ledger.Ledger, '_among', among)


def _the_chain_is_not_looked_at(patch):
  patch.setattr(chain, 'broken', lambda rows: None)
  patch.setattr(ledger.Ledger, '_compare', lambda self, rows: None)


def _the_head_is_not_looked_at(patch):
  original = ledger.Ledger.check
  patch.setattr(ledger.Ledger, 'check', lambda self, head=None: original(self))


def _what_stands_beside_the_log_is_not_looked_at(patch):
  patch.setattr(ledger.Ledger, '_compare', lambda self, rows: None)


def _the_journal_is_not_emptied(patch):
  patch.setattr(ledger.Ledger, '_checkpoint', lambda self: 0)


def _pages_are_not_overwritten(patch):
  original = ledger.Ledger.__init__

  def opened(self, *args, **kwargs):
    original(self, *args, **kwargs)
    self._db.execute('pragma secure_delete=off')

  patch.setattr(ledger.Ledger, '__init__', opened)


def _any_text_is_an_id(patch):
  patch.setattr(spelling, '_RULES', ())


def _rule(name, instead):
  """The verifier without one of its rules."""

  def defect(patch):
    patch.setattr(verify, name, instead)

  defect.__name__ = f'_verifier_without{name}'
  return defect


def _loose(text):
  return bytes.fromhex(text)


def _any_head(found, head, original=verify._chain):
  return original(found, None)


def _first_told(rows):
  return next(row for row in reversed(rows) if row and 'made' in row)


def _no_absence(proof, token, root):
  return None


def _nothing_removed(found, rows):
  return 0


def _unsorted(found, accepted):
  for one in found['deleted']:
    verify._only(one, 'absent shard slice token')


def _no_files(home):
  facts = verify._read(f'{home}/checkpoint.json')
  return {f'arrays/{path}' for path in facts['files']} | {'checkpoint.json'}


_spoiled = test_certificates.test_no_spoiled_certificate_is_accepted
_parts = test_certificates.test_parts_of_one_certificate_do_not_fit_into_another
_back = test_certificates.test_who_came_back_is_not_absent
_values = functools.partial(
  test_ledger.test_a_ledger_with_another_value_is_refused,
  table='deleted',
  column='shard',
)
_disk = functools.partial(
  test_ledger.test_nothing_on_disk_names_who_was_erased, reopened=False
)
DEFECTS = {
  _superseded_stages_stay: (
    test_spelling.test_a_link_in_a_system_is_removed_and_not_followed
  ),
  _one_request_in_a_hundred_is_skipped: streamed,
  _the_model_in_memory_is_served_on: interleaved,
  _who_left_is_known_in_memory_only: interleaved,
  _the_ledger_is_written_a_call_too_late: interleaved,
  _an_earlier_receipt_is_given_again: (
    test_ledger.test_a_name_is_answered_as_the_first_time_whatever_happened
  ),
  _a_writer_that_was_shut_out_writes: interleaved,
  _who_came_back_is_taken_for_gone: (
    test_certificates.test_who_came_back_is_not_absent
  ),
  _a_name_is_not_remembered: (
    test_ledger.test_a_name_is_answered_as_the_first_time_whatever_happened
  ),
  _a_name_may_ask_for_anything: test_ledger.test_a_name_asks_for_one_thing,
  _a_batch_is_done_as_far_as_it_goes: (
    test_ledger.test_a_batch_is_one_step_or_none
  ),
  _times_decide_on_the_order: (
    test_ledger.test_states_come_in_order_and_keep_their_time
  ),
  _states_are_passed_over: (
    test_ledger.test_states_come_in_order_and_keep_their_time
  ),
  _the_chain_is_not_looked_at: functools.partial(
    test_ledger.test_a_changed_log_is_refused_and_the_row_is_named,
    kind=test_ledger._edit,
  ),
  _the_head_is_not_looked_at: functools.partial(
    test_ledger.test_a_log_that_is_linked_anew_is_not_the_one_of_the_head,
    kind='rewritten',
  ),
  _what_stands_beside_the_log_is_not_looked_at: _values,
  _the_journal_is_not_emptied: _disk,
  _pages_are_not_overwritten: _disk,
  _any_text_is_an_id: (
    test_spelling.test_what_is_added_later_is_looked_at_as_well
  ),
  _rule('_chain', _any_head): (
    test_certificates.test_the_binary_says_what_it_found
  ),
  _rule('_bytes', _loose): _parts,
  _rule('_only', lambda one, names: None): _spoiled,
  _rule('_whole', lambda number: number): _parts,
  _rule('_last', _first_told): _back,
  _rule('_check_roots', lambda found, last: None): _spoiled,
  _rule('_check_deleted', _unsorted): _spoiled,
  _rule('_check_absence', _no_absence): (
    test_absence.test_nobody_who_is_in_a_tree_is_proven_to_be_in_none
  ),
  _rule('_climb', lambda node, at, count, beside: node): (
    test_absence.test_whoever_is_in_no_tree_is_proven_to_be_in_none
  ),
  _rule('_below', _no_files): functools.partial(
    test_certificates.test_other_files_than_the_log_fixed_are_refused,
    change='one more array',
  ),
  _rule('_check_removed', _nothing_removed): _spoiled,
}


def fixtures_of(check, request):
  given = getattr(check, 'keywords', {})
  wanted = set(inspect.signature(check).parameters) - set(given)
  return {name: request.getfixturevalue(name) for name in wanted}


@pytest.mark.parametrize('defect', DEFECTS, ids=lambda d: d.__name__.strip('_'))
def test_the_defect_is_seen(defect, request, monkeypatch):
  fixtures = fixtures_of(DEFECTS[defect], request)
  defect(monkeypatch)
  seen = AssertionError, pytest.fail.Exception, errors.UnlearnError
  with pytest.raises((*seen, KeyError, verify.Refused)):
    DEFECTS[defect](**fixtures)


CHECKS = {getattr(c, 'func', c).__name__: c for c in DEFECTS.values()}


@pytest.mark.parametrize('name', ['interleaved', 'streamed'])
def test_without_a_defect_nothing_is_seen(name, request):
  """Of the others that is what their own files show."""
  CHECKS[name](**fixtures_of(CHECKS[name], request))
