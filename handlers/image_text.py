"""A picture and a text together: the handler of their classifiers."""

from handlers.classifier import TARGET, Classifier
from handlers.explain.image_text import BASELINES, ImageTextSubject
from handlers.explain.methods import METHODS
from handlers.explain.parameters import parameters
from handlers.request import Kind
from model_defs.image_text import PARTS, WHOLE

PICTURE_AND_TEXT = Kind(
    "a picture and a text",
    ("text/",),
    f"""send {{"inputs": {WHOLE}}} as JSON, or a form: curl -F image=@picture.jpg -F 'text=what is this?' URL""",
    is_json=True,
    parts=PARTS,
    tensors="columns",
)


class ImageTextClassifier(Classifier):
    """A picture and a text -> their labels, best first."""

    accepts = PICTURE_AND_TEXT
    ExplanationParameters = parameters(
        "ImageTextClassifier", ["feature_ablation", "shapley_values", "kernel_shap"], METHODS, BASELINES, TARGET
    )
    explains = ImageTextSubject
