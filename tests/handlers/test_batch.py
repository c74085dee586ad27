from concurrent.futures import ThreadPoolExecutor

import pytest

from handlers.batch import Refusal, each, together


def refuse(error: Exception) -> Refusal:
    return Refusal(400 if isinstance(error, ValueError) else 500, str(error), error)


def codes(results: list) -> list:
    return [result.code if isinstance(result, Refusal) else result for result in results]


class Recorded:
    """Doubles the values of a batch, fails on the given values, and records the batches."""

    def __init__(self, *bad: int, error: type[Exception] = RuntimeError):
        self.bad, self.error, self.batches = bad, error, []

    def __call__(self, values: list[int]) -> list[int]:
        self.batches.append(values)
        if set(values) & set(self.bad):
            raise self.error("the batch broke")
        return [2 * value for value in values]


def test_only_the_row_that_fails_is_refused():
    results = each(int, ["1", "two", "3"], refuse=refuse)
    assert codes(results) == [1, 400, 3]
    assert results[1].message == "invalid literal for int() with base 10: 'two'"
    assert isinstance(results[1].cause, ValueError)


def test_a_refused_row_keeps_its_refusal_and_its_step_is_not_called():
    gone = Refusal(413, "too large")
    seen = []
    results = each(lambda one, other: seen.append((one, other)) or one + other, [1, gone, 3], [10, 20, gone], refuse=refuse)
    assert results == [11, gone, gone]
    assert seen == [(1, 10)]


def test_a_step_may_refuse_by_itself():
    def step(value):
        raise Refusal(501, "not here")

    assert codes(each(step, [1, 2], refuse=refuse)) == [501, 501]


@pytest.mark.parametrize("error", [MemoryError, RecursionError, AssertionError, NotImplementedError, KeyError])
def test_every_exception_becomes_a_refusal(error):
    def step(value):
        raise error("no")

    assert codes(each(step, [1], refuse=refuse)) == [500]


def test_a_keyboard_interrupt_is_not_a_refusal():
    def step(value):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        each(step, [1], refuse=refuse)


def test_threads_keep_the_order_of_the_rows_and_their_refusals():
    from time import sleep

    def slow_first(value: int) -> int:
        sleep(0.02 / (1 + value))
        return 100 // (value - 3)

    with ThreadPoolExecutor(8) as pool:
        assert codes(each(slow_first, range(8), refuse=refuse, over=pool.map)) == codes(each(slow_first, range(8), refuse=refuse))


def test_an_empty_batch_stays_empty():
    step = Recorded()
    assert each(step, [], refuse=refuse) == []
    assert together(step, [], refuse) == []
    assert step.batches == []


def test_a_good_batch_is_one_call():
    step = Recorded()
    assert together(step, [1, 2, 3], refuse) == [2, 4, 6]
    assert step.batches == [[1, 2, 3]]


def test_a_broken_batch_is_halved_until_the_guilty_row_is_alone():
    step = Recorded(3)
    assert codes(together(step, [0, 1, 2, 3, 4, 5, 6, 7], refuse)) == [0, 2, 4, 500, 8, 10, 12, 14]
    assert step.batches == [[0, 1, 2, 3, 4, 5, 6, 7], [0, 1, 2, 3], [0, 1], [2, 3], [2], [3], [4, 5, 6, 7]]


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 8, 13, 32])
def test_a_batch_of_n_bad_rows_takes_2n_minus_1_calls(rows):
    step = Recorded(*range(rows))
    assert codes(together(step, list(range(rows)), refuse)) == [500] * rows
    assert len(step.batches) == 2 * rows - 1


def test_a_row_that_was_refused_before_is_not_in_the_batch():
    gone = Refusal(400, "gone")
    step = Recorded(2)
    assert codes(together(step, [1, gone, 2, 3], refuse)) == [2, 400, 500, 6]
    assert step.batches[0] == [1, 2, 3]
    assert together(step, [gone, gone], refuse) == [gone, gone]


def test_a_batch_that_is_too_large_for_memory_is_answered_in_parts():
    def step(values: list[int]) -> list[int]:
        if len(values) > 2:
            raise MemoryError
        return values

    assert together(step, [1, 2, 3, 4, 5], refuse) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_wrong_number_of_outputs_never_shifts_the_answers(count):
    results = together(lambda values: [7] * (count if len(values) > 1 else 1), [1, 2], refuse)
    assert results == [7, 7]
    results = together(lambda values: [7] * (len(values) + 1), [1, 2], refuse)
    assert [result.message for result in results] == ["2 outputs for 1 inputs"] * 2


def test_a_step_may_refuse_one_row_of_a_batch():
    def step(values: list[int]) -> list[int]:
        if 2 in values:
            raise Refusal(422, "no twos")
        return values

    assert codes(together(step, [1, 2, 3], refuse)) == [1, 422, 3]
