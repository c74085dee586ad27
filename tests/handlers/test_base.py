import base64
import io
import json
import logging
import threading
import time

import msgspec
import pytest
import torch
from PIL import Image
from torch import nn

from handlers import deadline
from handlers.base import WrongAnswer, load
from handlers.request import RawRequest
from model_defs.build import SpecError
from model_defs.cpus import usable_cpus
from model_defs.errors import WrongValue

BAD = {  # for each modality: a body that cannot be used, and its status
    "picture": (b"\x89PNG\r\n\x1a\n cut off", 400),
    "sound": (b"RIFF\0\0", 400),
    "text": (b"caf\xe9", 400),
}
MARK = 13  # the grey level of pictures on which the networks below fail


def grey(level: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (16, 16), (level,) * 3).save(stream, "PNG")
    return stream.getvalue()


def row(body, content_type: str = "", id: str = "r-1", explain: bool = False) -> RawRequest:
    return RawRequest({"body": body}, content_type, id, explain)


def payloads(handler) -> list[bytes]:
    return [payload for _, payload in handler.artifact.samples()]


def decoded(body: bytes):
    """The body's value. NaN and Infinity are not valid JSON."""

    def refuse(name: str):
        raise AssertionError(f"{name} in JSON")

    return json.loads(body, parse_constant=refuse)


def codes(answered) -> list[int]:
    return [answer.code for answer in answered.answers]


class Brittle(nn.Module):
    """A network that fails on marked pictures, in a chosen way. It records the batch sizes."""

    def __init__(self, network: nn.Module, fail):
        super().__init__()
        self.network, self.fail, self.sizes = network, fail, []

    def forward(self, pixels):
        self.sizes.append(len(pixels))
        marked = pixels[:, 0, 0, 0] == MARK
        return self.fail(self.network(pixels), marked)


def breaks(error: Exception):
    def fail(logits, marked):
        if marked.any():
            raise error
        return logits

    return fail


def gives(value: float):
    return lambda logits, marked: logits.masked_fill(marked[:, None], value)


# --- isolation


def test_one_bad_row_of_eight_is_refused_alone(handler, kind):
    bad, code = BAD[kind]
    good = payloads(handler)
    alone = [handler.answer([row(payload)]).answers[0] for payload in good]
    answered = handler.answer([row(payload) for payload in [*good, bad, *good[:3]]])
    assert codes(answered) == [200] * 4 + [code] + [200] * 3
    for answer, expected in zip(answered.answers[:4], alone, strict=True):
        given, wanted = decoded(answer.body), decoded(expected.body)
        assert [one["label"] for one in given] == [one["label"] for one in wanted]
        assert [one["score"] for one in given] == pytest.approx([one["score"] for one in wanted], abs=1e-5)
    refusal = decoded(answered.answers[4].body)
    assert refusal.keys() == {"code", "type", "message"}
    assert (refusal["code"], refusal["type"]) == (400, "BadRequest")


def test_every_bad_row_of_a_batch_gets_its_own_status(pictures):
    rows = [
        row(b""),
        RawRequest({}, "application/x-www-form-urlencoded"),
        row("text", "text/plain"),
        row({"inputs": "?"}, "application/json"),
        row({"inputs": base64.b64encode(grey(3)).decode(), "parameters": {"top_k": 0}}, "application/json"),
        row(b"%!PS-Adobe"),
        row({"inputs": "\ud800", "\ud801": 1}, "application/json"),
    ]
    answered = pictures.answer(rows)
    assert codes(answered) == [400, 415, 415, 400, 422, 415, 422]
    types = {decoded(answer.body)["type"] for answer in answered.answers}
    assert types == {"BadRequest", "UnsupportedMediaType", "UnprocessableEntity"}
    assert all(answer.content_type == "application/json" for answer in answered.answers)


def test_an_empty_batch_has_no_answers(pictures):
    assert pictures.answer([]).answers == []


@pytest.mark.parametrize(
    ("error", "code", "kind"),
    [
        (RuntimeError("shapes of /srv/secret.py"), 500, "InternalServerError"),
        (ValueError("secret"), 500, "InternalServerError"),
        (MemoryError(), 507, "InsufficientStorage"),
    ],
)
def test_only_the_row_that_breaks_the_network_gets_an_error(pictures, error, code, kind, caplog):
    pictures.runtime.network = Brittle(pictures.runtime.network, breaks(error))
    rows = [row(grey(level), id=f"r-{level}") for level in (10, 11, 12, MARK, 14, 15, 16, 17)]
    with caplog.at_level(logging.ERROR):
        answered = pictures.answer(rows)
    assert codes(answered) == [200, 200, 200, code, 200, 200, 200, 200]
    assert pictures.runtime.network.sizes == [8, 4, 2, 2, 1, 1, 4]
    refusal = decoded(answered.answers[3].body)
    assert refusal["type"] == kind
    assert ("under request r-13" in refusal["message"]) is (code == 500)
    assert "secret" not in refusal["message"]
    assert "Traceback" not in refusal["message"]
    assert "request r-13" in caplog.text
    assert "Traceback" in caplog.text


def needs_too_much_memory(logits, marked):
    return torch.empty(1 << 50) if marked.any() else logits


def test_a_row_that_needs_more_memory_than_there_is_gets_507_alone(pictures):
    pictures.runtime.network = Brittle(pictures.runtime.network, needs_too_much_memory)
    answered = pictures.answer([row(grey(level)) for level in (10, 11, MARK, 14)])
    assert codes(answered) == [200, 200, 507, 200]
    assert "more memory than the worker has" in decoded(answered.answers[2].body)["message"]


def takes_half_a_minute(logits, marked):
    for _ in range(3_000 if marked.any() else 0):
        time.sleep(0.01)
    return logits


def test_a_row_that_takes_too_long_gets_504_alone_and_in_time(picture_artifact, monkeypatch):
    monkeypatch.setattr(deadline, "SPARE", 10)  # the cheap rows have 0.6 s, whatever else the machine does
    pictures = load(picture_artifact, {"class_path": "handlers.vision.ImageClassifier", "threads": 1}, seconds=0.5)
    pictures.runtime.network = Brittle(pictures.runtime.network, takes_half_a_minute)
    started = time.monotonic()
    answered = pictures.answer([row(grey(level)) for level in (10, 11, MARK, 14)])
    assert time.monotonic() - started < 15
    assert codes(answered) == [200, 200, 504, 200]
    assert "the 0.5 s for a batch are over" in decoded(answered.answers[2].body)["message"]


@pytest.fixture(params=[1, 2])
def hanging(request, picture_artifact, monkeypatch):
    """A handler with one or two decoders whose marked pictures hang until the test ends."""
    monkeypatch.setattr(deadline, "SPARE", 10)
    section = {"class_path": "handlers.vision.ImageClassifier", "threads": 1, "decoders": request.param}
    handler, released = load(picture_artifact, section, seconds=1), threading.Event()
    plain = handler.preprocess

    def preprocess(request):
        if request.payload == grey(MARK):
            released.wait(60)
        return plain(request)

    handler.preprocess = preprocess
    yield handler
    released.set()


def test_a_row_that_is_slow_to_decode_gets_504_alone(hanging):
    started = time.monotonic()
    answered = hanging.answer([row(grey(level)) for level in (10, MARK, 12, 14)])
    assert time.monotonic() - started < 15
    assert codes(answered) == [200, 504, 200, 200]
    assert "the 0.5 s for decoding a batch are over before this request" in decoded(answered.answers[1].body)["message"]


def test_after_a_row_that_was_slow_to_decode_the_next_batch_is_fast(hanging):
    hanging.answer([row(grey(level)) for level in (10, MARK, 12, 14)])
    hanging.seconds = 60
    started = time.monotonic()
    assert codes(hanging.answer([row(grey(level)) for level in range(20, 28)])) == [200] * 8
    assert time.monotonic() - started < 20


@pytest.mark.slow
def test_many_rows_that_hang_leave_few_threads_and_good_answers(hanging, monkeypatch):
    monkeypatch.setattr(deadline, "SPARE", 2)
    before = threading.active_count()
    for _ in range(4):
        assert codes(hanging.answer([row(grey(level)) for level in (MARK, 10, MARK)])) == [504, 200, 504]
    assert threading.active_count() - before <= 2 * hanging.decoders.size


def test_callers_of_a_lost_gpu_are_asked_to_send_again(pictures, monkeypatch):
    """The GPU is imitated here. tests/handlers/test_gpu.py has a real one."""

    def fails(*_):
        raise RuntimeError("CUDA error: device-side assert triggered")

    pictures.runtime.network = Brittle(pictures.runtime.network, fails)
    pictures.device = "cuda:0"
    monkeypatch.setattr(torch.cuda, "synchronize", fails)
    answered = pictures.answer([row(grey(10)), row(b""), row(grey(12))])
    assert codes(answered) == [503, 400, 503]
    assert answered.is_lost
    assert "send the request again" in decoded(answered.answers[0].body)["message"]


def test_a_server_error_on_a_healthy_gpu_does_not_end_the_worker(pictures, monkeypatch):
    pictures.runtime.network = Brittle(pictures.runtime.network, breaks(RuntimeError("ours")))
    pictures.device = "cuda:0"
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    answered = pictures.answer([row(grey(10)), row(grey(MARK))])
    assert codes(answered) == [200, 500] and not answered.is_lost


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("function", ["softmax", "none"])
def test_scores_that_are_not_finite_are_an_error_of_that_row_only(pictures, value, function, caplog):
    pictures.runtime.network = Brittle(pictures.runtime.network, gives(value))
    bodies = [
        {"inputs": base64.b64encode(grey(level)).decode(), "parameters": {"function_to_apply": function}}
        for level in (10, MARK, 14)
    ]
    answered = pictures.answer([row(body, "application/json") for body in bodies])
    assert codes(answered) == [200, 500, 200]
    assert decoded(answered.answers[1].body)["message"] == (
        "the model gave scores that are not finite numbers; the server's log says why under request r-1"
    )
    assert "request r-1" in caplog.text
    assert all(isinstance(one["score"], float) for one in decoded(answered.answers[0].body))


def test_a_result_that_is_not_json_is_an_error_of_that_row_only(pictures):
    plain = pictures.postprocess

    def sometimes(output, sample, request):
        return torch.zeros(1) if sample[0, 0, 0] == MARK else plain(output, sample, request)

    pictures.postprocess = sometimes
    assert codes(pictures.answer([row(grey(10)), row(grey(MARK))])) == [200, 500]


def test_decoder_threads_keep_the_order_of_the_rows(picture_artifact, pictures):
    threaded = load(picture_artifact, {"class_path": "handlers.vision.ImageClassifier", "threads": 1, "decoders": 4})
    rows = [row(payload) for payload in [*payloads(pictures), b"no picture", *payloads(pictures)]]
    assert threaded.answer(rows).answers == pictures.answer(rows).answers


# --- what goes back


def test_an_answer_is_labels_and_scores_best_first(handler):
    answer = handler.answer([row(payloads(handler)[0])]).answers[0]
    best = decoded(answer.body)
    assert (answer.code, answer.content_type) == (200, "application/json")
    assert {one["label"] for one in best} == set(handler.labels)
    assert [one["score"] for one in best] == sorted((one["score"] for one in best), reverse=True)
    assert sum(one["score"] for one in best) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(("top_k", "count"), [(1, 1), (2, 2), (3, 3), (1000, 3)])
def test_top_k_is_the_maximum_number_of_labels(handler, kind, top_k, count):
    payload = payloads(handler)[0]
    inputs = payload.decode() if kind == "text" else base64.b64encode(payload).decode()
    answer = handler.answer([row({"inputs": inputs, "parameters": {"top_k": top_k}}, "application/json")]).answers[0]
    assert len(decoded(answer.body)) == count


@pytest.mark.parametrize("function", ["softmax", "sigmoid", "none"])
def test_scores_come_from_the_function_that_the_caller_chose(pictures, function):
    payload = grey(100)
    form = RawRequest({"data": bytearray(payload), "function_to_apply": function.encode()}, "multipart/form-data; boundary=x")
    given = {one["label"]: one["score"] for one in decoded(pictures.answer([form]).answers[0].body)}
    logits = pictures.runtime(pictures.transform.collate([pictures.transform(payload)]))[0]
    wanted = {"softmax": logits.softmax(-1), "sigmoid": logits.sigmoid(), "none": logits}[function].tolist()
    assert [given[label] for label in pictures.labels] == pytest.approx(wanted, abs=1e-5)


def test_every_body_form_of_one_input_gets_one_answer(pictures):
    payload = payloads(pictures)[0]
    inputs = base64.b64encode(payload).decode()
    rows = [
        row(bytearray(payload)),
        row(payload, "image/png"),
        row({"inputs": inputs}, "application/json"),
        row(json.dumps({"inputs": f"data:image/png;base64,{inputs}"}).encode(), "application/json; charset=utf-8"),
        *(RawRequest({field: bytearray(payload)}, "multipart/form-data; boundary=x") for field in ("data", "body", "inputs")),
    ]
    scores = [[one["score"] for one in decoded(answer.body)] for answer in pictures.answer(rows).answers]
    assert all(one == pytest.approx(scores[0], abs=1e-5) for one in scores)


def test_a_message_that_quotes_a_long_input_is_cut(pictures):
    answer = pictures.answer([RawRequest({"x" * 100_000: b""}, "multipart/form-data; boundary=x")]).answers[0]
    assert answer.code == 422
    assert len(answer.body) < 1_200


def test_half_a_surrogate_pair_in_a_message_does_not_break_the_batch(pictures):
    plain = pictures.preprocess

    def strict(request):
        raise WrongValue("no word \ud800")

    pictures.preprocess = lambda request: plain(request) if len(request.payload) > 1 else strict(request)
    answered = pictures.answer([row(grey(3)), row(b"x")])
    assert codes(answered) == [200, 422]
    assert decoded(answered.answers[1].body)["message"] == r"no word \ud800"


def test_the_time_of_each_step_is_reported(pictures):
    seconds = pictures.answer([row(grey(3))]).seconds
    assert seconds.keys() == {"PreprocessTime", "InferenceTime", "PostprocessTime"}
    assert all(value > 0 for value in seconds.values())


# --- predictions and explanations in one batch


def test_predictions_and_explanations_share_a_batch(handler):
    payload = payloads(handler)[0]
    predicted, explained, again = handler.answer([row(payload), row(payload, explain=True), row(payload)]).answers
    best = decoded(predicted.body)[0]
    assert decoded(explained.body)["label"] == best["label"]
    assert decoded(explained.body)["score"] == pytest.approx(best["score"], abs=1e-5)
    assert decoded(again.body)[0]["score"] == pytest.approx(best["score"], abs=1e-5)


def test_an_explanation_that_fails_does_not_harm_its_neighbours(pictures):
    def fail(*arguments):
        raise RuntimeError("no gradient")

    pictures.explain = fail
    assert codes(pictures.answer([row(grey(3)), row(grey(3), explain=True), row(b"", explain=True)])) == [200, 500, 400]


# --- before the first caller


def test_a_worker_with_the_recorded_answers_becomes_ready(handler):
    handler.warm_up(5)


def test_every_sample_is_checked_at_every_size(pictures):
    pictures.runtime.network = Brittle(pictures.runtime.network, lambda logits, marked: logits)
    pictures.warm_up(6)
    assert pictures.runtime.network.sizes == [1, 1, 1, 1, 2, 2, 3, 1, 4, 5, 6]


@pytest.mark.parametrize("index", [0, 3])
@pytest.mark.parametrize("change", [{"score": 0.999}, {"label": "hexagon ⬡"}])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_sample_with_another_answer_stops_the_worker(handler, index, change, batch_size):
    file = handler.artifact.folder / "samples" / "expected.json"
    expected = json.loads(file.read_bytes())
    expected[index]["answer"][0] |= change
    file.write_text(json.dumps(expected))
    with pytest.raises(WrongAnswer, match=f"sample {index}.* got 200 .*; training says .* within 0.001"):
        handler.warm_up(batch_size)


def test_an_unreadable_sample_stops_the_worker(pictures):
    file = pictures.artifact.folder / "samples" / "2.png"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(WrongAnswer, match=r"sample 2\.png in a batch of 1 got 400 .*the PNG ends after 100 bytes"):
        pictures.warm_up(4)


def test_an_artifact_without_samples_stops_the_worker(pictures):
    (pictures.artifact.folder / "samples" / "expected.json").write_text("[]")
    with pytest.raises(WrongAnswer, match="has no samples to check the answers against"):
        pictures.warm_up(1)


def test_bf16_answers_agree_within_a_larger_tolerance(picture_artifact):
    section = {"class_path": "handlers.vision.ImageClassifier", "threads": 1, "precision": "bf16", "tolerance": 0.05}
    load(picture_artifact, section).warm_up(2)


# --- loading


@pytest.mark.parametrize(
    ("section", "error", "message"),
    [
        ({"class_path": "handlers.vision.ImageClasifier"}, SpecError, "did you mean 'ImageClassifier'"),
        ({"class_path": "handlers.visoin.ImageClassifier"}, SpecError, "no module 'handlers.visoin'"),
        ({"class_path": "os.system"}, SpecError, "is outside handlers"),
        ({"class_path": "model_defs.vision.SmallCNN"}, SpecError, "is outside handlers"),
        ({"class_path": "handlers.base.Artifact"}, SpecError, "no class 'Artifact'"),
        ({"class_path": "handlers.base.Answer"}, SpecError, "handlers.base.Answer is not a Handler"),
        (
            {"class_path": "handlers.vision.ImageClassifier", "precison": "bf16"},
            msgspec.ValidationError,
            "unknown field `precison`",
        ),
    ],
)
def test_a_section_without_a_valid_handler_is_refused(picture_artifact, section, error, message):
    with pytest.raises(error) as caught:
        load(picture_artifact, section)
    assert message in str(caught.value)


def test_cpus_are_divided_among_the_workers(picture_artifact):
    before = torch.get_num_threads()
    try:
        load(picture_artifact, {"class_path": "handlers.vision.ImageClassifier"}, workers=1000)
        assert torch.get_num_threads() == 1
        load(picture_artifact, {"class_path": "handlers.vision.ImageClassifier"}, workers=1)
        assert torch.get_num_threads() == usable_cpus()
    finally:
        torch.set_num_threads(before)
