import io
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps, PngImagePlugin

from model_defs.errors import InputError, TooLarge, Unreadable, WrongKind
from model_defs.image_file import FORMATS, flatten
from model_defs.vision import ImageTransform, LetterboxTransform, Normalize, SmallCNN, TorchvisionClassifier

MODES = ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV", "I", "I;16", "I;16B", "F"]


def scene(width: int = 64, height: int = 48) -> Image.Image:
    """A picture without symmetry: red grows to the right, green downwards, and one corner is blue."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    pixels = np.stack([x, y, np.zeros_like(x)], axis=2).astype(np.uint8)
    pixels[: height // 4, : width // 4, 2] = 255
    return Image.fromarray(pixels)


def encode(picture: Image.Image, format: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format, **options)
    return stream.getvalue()


def difference(one: torch.Tensor, other: torch.Tensor) -> float:
    return (one.float() - other.float()).abs().mean().item()


def png(width: int, height: int, depth: int = 8, kind: int = 0, data: bytes = b"") -> bytes:
    """A PNG whose header may lie about its data."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("given", MODES)
def test_every_mode_becomes_the_mode_of_the_model(given, mode):
    picture = Image.new(given, (5, 4))
    assert flatten(picture, mode).mode == mode


@pytest.mark.parametrize(
    ("mode", "format"),
    [("1", "PNG"), ("L", "PNG"), ("LA", "PNG"), ("P", "GIF"), ("RGB", "BMP"), ("RGBA", "PNG"), ("CMYK", "JPEG"),
     ("YCbCr", "JPEG"), ("LAB", "TIFF"), ("I;16", "PNG"), ("I", "TIFF"), ("F", "TIFF"), ("RGB", "WEBP"), ("RGB", "PPM")],
)  # fmt: skip
@pytest.mark.parametrize(("wanted", "channels"), [("RGB", 3), ("L", 1)])
def test_a_file_of_any_mode_becomes_a_square_of_uint8(mode, format, wanted, channels):
    pixels = ImageTransform(20, wanted)(encode(Image.new(mode, (30, 17)), format))
    assert pixels.shape == (channels, 20, 20)
    assert pixels.dtype == torch.uint8


def test_channels_and_pixels_keep_their_order():
    pixels = ImageTransform(2)(
        encode(Image.fromarray(np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [9, 9, 9]]], np.uint8)))
    )
    assert pixels.tolist() == [[[255, 0], [0, 9]], [[0, 255], [0, 9]], [[0, 0], [255, 9]]]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_become_white(mode):
    assert ImageTransform(4)(encode(Image.new(mode, (8, 8), 0))).eq(255).all()


def test_a_transparent_colour_of_a_palette_becomes_white():
    picture = Image.new("P", (8, 8), 1)
    picture.putpalette([0, 0, 0, 200, 0, 0])
    assert ImageTransform(4)(encode(picture, transparency=1)).eq(255).all()
    assert ImageTransform(4)(encode(picture, transparency=0))[:, 0, 0].tolist() == [200, 0, 0]


def test_sixteen_bits_are_scaled_rather_than_clipped():
    values = np.array([[0, 256, 32_768, 65_535]], dtype=np.uint16).repeat(4, axis=0)
    assert ImageTransform(4, "L")(encode(Image.fromarray(values)))[0, 0].tolist() == [0, 0, 127, 255]


def test_thirty_two_bits_are_scaled_by_the_largest():
    picture = Image.fromarray(np.array([[-5, 0, 1 << 30, 1 << 31]], dtype=np.int64).clip(max=(1 << 31) - 1).astype(np.int32))
    assert np.asarray(flatten(picture, "L")).tolist() == [[0, 0, 127, 255]]


@pytest.mark.parametrize(
    ("values", "bytes_"),
    [([0, 0.5, 1], [0, 127, 255]), ([0, 100, 200], [0, 127, 255]), ([float("nan"), float("inf"), 1], [0, 0, 255])],
    ids=["shares", "larger", "not finite"],
)
def test_floats_are_scaled_by_one_or_the_largest(values, bytes_):
    assert np.asarray(flatten(Image.fromarray(np.array([values], np.float32)), "L")).tolist() == [bytes_]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_rotated_photograph_is_seen_upright(orientation):
    stored = scene()
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(encode(stored, exif=exif))))
    turned = {1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: lambda a: a.swapaxes(0, 1),
              6: lambda a: np.rot90(a, -1), 7: lambda a: np.rot90(a.swapaxes(0, 1), 2), 8: np.rot90}  # fmt: skip
    assert np.array_equal(np.asarray(upright), turned[orientation](np.asarray(stored)))
    for format in ("PNG", "JPEG", "TIFF"):
        given = ImageTransform(24)(encode(stored, format, exif=exif))
        assert difference(given, ImageTransform(24)(encode(upright.convert("RGB"), format))) < 4


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0Ii*\0\x08\0\0\0", b"garbage"])
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_a_broken_exif_block_does_not_matter(exif):
    assert difference(ImageTransform(16)(encode(scene(), "JPEG", exif=exif)), ImageTransform(16)(encode(scene(), "JPEG"))) == 0


@pytest.mark.parametrize("crop_pct", [1.0, 0.875])
def test_a_large_jpeg_decoded_small_looks_like_one_decoded_whole(crop_pct):
    large = scene(1600, 1200)
    transform = ImageTransform(32, crop_pct=crop_pct)
    assert difference(transform(encode(large, "JPEG", quality=95)), transform(encode(large, "PNG"))) < 2


def test_a_jpeg_is_never_decoded_smaller_than_its_details_need():
    squares = Image.fromarray(np.kron(np.indices((8, 8)).sum(axis=0) % 2 * 255, np.ones((16, 16))).astype(np.uint8))
    assert difference(ImageTransform(32)(encode(squares, "JPEG", quality=95)), ImageTransform(32)(encode(squares, "PNG"))) < 2


def test_the_square_is_cut_from_the_centre():
    picture = Image.new("RGB", (300, 100), "red")
    picture.paste("blue", (100, 0, 200, 100))
    assert (
        ImageTransform(10)(encode(picture))[2, :, 1:-1].eq(255).all()
    )  # the filter mixes the outermost column with its neighbour
    bordered = ImageOps.expand(Image.new("RGB", (80, 80), "blue"), 10, "red")
    assert ImageTransform(10, crop_pct=0.8)(encode(bordered))[2, 1:-1, 1:-1].eq(255).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1)])
def test_the_thinnest_pictures_are_enlarged(size):
    assert ImageTransform(8)(encode(Image.new("RGB", size, "white"))).eq(255).all()


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_of_an_animation_is_seen(format):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("white", "black", "red")]
    assert ImageTransform(8)(encode(frames[0], format, save_all=True, append_images=frames[1:])).eq(255).all()


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_truncated_picture_is_refused_and_says_where_it_ends(format, share):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    whole = encode(noise, format)
    cut = whole[: int(len(whole) * share)]
    with pytest.raises(Unreadable, match=f"the {format} ends after {len(cut):,} bytes; send the whole file"):
        ImageTransform(16)(cut)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "ICO", "JPEG2000"])
def test_flipped_bytes_give_a_picture_or_a_refusal_and_nothing_else(format):
    whole = encode(scene(), format)
    rng = np.random.default_rng(0)
    outcomes = set()
    for _ in range(60):
        flipped = bytearray(whole)
        for index in rng.integers(0, len(whole), 5):
            flipped[index] ^= rng.integers(1, 256)
        try:
            outcomes.add(ImageTransform(16)(bytes(flipped)).shape)
        except InputError as error:
            assert "send" in str(error)
    assert outcomes <= {(3, 16, 16)}


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"", "the body is empty; send the bytes of a picture file"),
        (b"not a picture at all", "not a picture: 20 bytes in no format that Pillow reads; send a JPEG, PNG or WebP file"),
        (bytes(5000), "not a picture: 5,000 bytes in no format that Pillow reads"),
        (b"\xff\xd8\xff", "not a picture"),
        (png(4, 4, data=b"\0" * 7), "not a picture: the PNG ends after"),
        (png(4, 4, depth=3, data=bytes(20)), "not a picture"),
    ],
)
def test_bytes_that_are_not_a_picture_are_refused_with_the_reason(payload, message):
    with pytest.raises(Unreadable) as caught:
        ImageTransform(16)(payload)
    assert str(caught.value).startswith(message)


def test_a_decompression_bomb_is_refused_from_its_header():
    with pytest.raises(TooLarge, match="8,000 x 8,000 pixels; this model takes 1,000,000 at most: send a smaller picture"):
        ImageTransform(16, max_pixels=1_000_000)(png(8_000, 8_000))
    with pytest.raises(TooLarge, match="this model takes 50,000,000 at most"):
        ImageTransform(16)(png(60_000, 60_000))


def png_with_metadata(length: int, kind: str, at_the_end: bool = False) -> bytes:
    """A grey PNG with a compressed text, or a colour profile, of so many bytes."""
    info = PngImagePlugin.PngInfo()
    if kind == "zTXt":
        info.add_text("x", "A" * length, zip=True)
    elif kind == "iTXt":
        info.add_itxt("x", "A" * length, zip=True)
    file = io.BytesIO()
    profile = {"icc_profile": b"A" * length} if kind == "iCCP" else {}
    Image.new("L", (8, 8), 77).save(file, "PNG", pnginfo=info, **profile)
    content = file.getvalue()
    if at_the_end:  # move the text behind the pixels
        start, end = content.index(kind.encode()) - 4, content.index(b"IDAT") - 4
        content = content[:start] + content[end:-12] + content[start:end] + content[-12:]
    return content


@pytest.mark.parametrize("at_the_end", [False, True])
@pytest.mark.parametrize("kind", ["zTXt", "iTXt"])
def test_a_png_with_long_texts_is_seen_as_viewers_show_it(kind, at_the_end):
    assert ImageTransform(size=8, mode="L")(png_with_metadata(2_000_000, kind, at_the_end)).unique().tolist() == [77]


def test_a_png_with_a_large_colour_profile_is_seen_as_viewers_show_it():
    assert ImageTransform(size=8, mode="L")(png_with_metadata(2_000_000, "iCCP")).unique().tolist() == [77]


@pytest.mark.parametrize("kind", ["zTXt", "iTXt", "iCCP"])
def test_a_png_whose_metadata_is_a_bomb_says_what_to_leave_out(kind):
    with pytest.raises(Unreadable, match="unpack to more than 10,485,760 bytes; save it without them"):
        ImageTransform(size=8)(png_with_metadata(11_000_000, kind))


def test_an_icon_that_hides_a_bomb_is_too_large():
    hidden = png(60_000, 60_000, kind=6, depth=8)
    icon = struct.pack("<HHH", 0, 1, 1) + struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(hidden), 22) + hidden
    with pytest.raises(TooLarge, match="too many pixels"):
        ImageTransform(16)(icon)


def test_a_picture_of_exactly_the_limit_is_taken():
    assert ImageTransform(8, max_pixels=64 * 48)(encode(scene())).shape == (3, 8, 8)
    with pytest.raises(TooLarge):
        ImageTransform(8, max_pixels=64 * 48 - 1)(encode(scene()))


@pytest.mark.parametrize("head", [b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\xc5\xd0\xd3\xc6" + bytes(28)], ids=["plain", "dos"])
def test_postscript_is_the_wrong_kind(head):
    with pytest.raises(WrongKind, match="an EPS file is a program, not a picture"):
        ImageTransform(16)(head + b"%%BoundingBox: 0 0 10 10\n")


def test_no_format_that_may_contain_postscript_is_opened():
    assert not {"EPS", "IPTC"} & set(FORMATS)
    assert {"JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"} <= set(FORMATS)


@pytest.mark.filterwarnings("ignore")
def test_a_real_odd_picture_is_decoded_if_pillow_reads_it(odd_image):
    payload = odd_image.read_bytes()
    transform = ImageTransform(16)
    try:
        with Image.open(io.BytesIO(payload), formats=FORMATS) as picture:
            readable = picture.width * picture.height <= transform.max_pixels
            if readable:
                picture.load()
    except Exception:
        readable = False
    if readable:
        assert transform(payload).shape == (3, 16, 16)
    else:
        with pytest.raises(InputError):
            transform(payload)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"mode": "CMYK"}, "'CMYK' is not one of L, RGB"), ({"crop_pct": 0.0}, "crop_pct"), ({"crop_pct": 1.5}, "crop_pct")],
)
def test_wrong_arguments_of_a_transform_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ImageTransform(**options)


def test_a_batch_is_stacked_and_the_network_gets_the_channels():
    transform = ImageTransform(8, "L")
    (batch,) = transform.collate([transform(encode(scene()))] * 3)
    assert batch.shape == (3, 1, 8, 8)
    assert transform.facts() == {"channels": 1}


@pytest.mark.parametrize(("mode", "shape"), [("L", (8, 8)), ("RGB", (8, 8, 3))])
def test_a_sample_is_drawn_as_people_see_it(mode, shape):
    transform = ImageTransform(8, mode)
    assert transform.draw(transform(encode(scene()))).shape == shape


def test_normalize_follows_its_formula():
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8).view(3, 1, 1, 1)
    assert torch.allclose(Normalize([0.2], [0.4])(pixels).flatten(), torch.tensor([-0.5, 0.0, 2.0]))


@pytest.mark.parametrize("side", [8, 28, 33])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_small_network_gives_one_logit_per_class(side, channels):
    network = SmallCNN(7, channels=channels, width=4).eval()
    assert network(torch.zeros(2, channels, side, side, dtype=torch.uint8)).shape == (2, 7)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "squeezenet1_1", "shufflenet_v2_x0_5", "mnasnet0_5"])
def test_classifiers_of_torchvision_get_a_head_for_the_classes(name):
    network = TorchvisionClassifier(7, name).eval()
    assert network(torch.zeros(2, 3, 64, 64, dtype=torch.uint8)).shape == (2, 7)


def test_a_resnet_for_small_pictures_keeps_their_size_at_first():
    network = TorchvisionClassifier(7, "resnet18", small_pictures=True).eval()
    assert network.network.maxpool(network.network.conv1(torch.zeros(1, 3, 32, 32))).shape == (1, 64, 32, 32)
    assert network(torch.zeros(2, 3, 32, 32, dtype=torch.uint8)).shape == (2, 7)


def test_small_pictures_are_only_for_resnets():
    with pytest.raises(ValueError, match="'squeezenet1_1' is not one"):
        TorchvisionClassifier(7, "squeezenet1_1", small_pictures=True)


@pytest.mark.parametrize(
    ("size", "shape"), [((40, 30), (24, 32)), ((30, 90), (32, 11)), ((64, 64), (32, 32)), ((500, 1), (1, 32))]
)
def test_a_letterbox_keeps_the_whole_picture_and_its_proportions(size, shape):
    sample = LetterboxTransform(size=32)(encode(Image.new("RGB", size, "white")))
    assert sample.pixels.shape[1:] == shape and (sample.width, sample.height) == size and (sample.pixels == 255).all()


def test_a_batch_of_letterboxes_is_padded_with_grey():
    letterbox = LetterboxTransform(size=32)
    (batch,) = letterbox.collate([letterbox(encode(Image.new("RGB", size, "white"))) for size in ((40, 30), (30, 90))])
    assert batch.shape == (2, 3, 32, 32) and batch.dtype == torch.uint8
    assert (batch[0, :, :24] == 255).all() and (batch[0, :, 24:] == 127).all() and (batch[1, :, :, 11:] == 127).all()


def test_a_letterbox_takes_a_limited_number_of_pixels():
    with pytest.raises(TooLarge, match=r"40 x 30 pixels; this model takes 1,000 at most"):
        LetterboxTransform(size=32, max_pixels=1_000)(encode(Image.new("RGB", (40, 30))))
