"""Pictures of every kind become uint8 [H, W, C] of one size."""

import contextlib
import io
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image, ImageCms

from pipeline.data import pictures
from pipeline.data.pictures import Header


def png(image: Image.Image, **settings: object) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, "PNG", **settings)
    file.seek(0)
    return file


def test_sixteen_bits_are_scaled_to_eight() -> None:
    deep = np.array([[0, 257, 32768, 65535]] * 4, np.uint16)
    flat = pictures.decode(png(Image.fromarray(deep)), (4, 4), 1)
    assert flat[0, :, 0].tolist() == [0, 1, 128, 255]


def test_a_bilevel_picture_becomes_black_and_white() -> None:
    image = Image.new("1", (4, 4), 0)
    image.putpixel((1, 0), 1)
    assert pictures.decode(png(image), (4, 4), 1)[0, :, 0].tolist() == [0, 255, 0, 0]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_transparent_becomes_white(mode: str) -> None:
    image = Image.new(mode, (4, 4), (0, 0, 0, 0) if mode == "RGBA" else (0, 0))
    image.putpixel((0, 0), (10, 10, 10, 255) if mode == "RGBA" else (10, 255))
    flat = pictures.decode(png(image), (4, 4), 1 if mode == "LA" else 3)
    assert flat[0, 0].tolist() == [10] * flat.shape[2]
    assert flat[1, 1].tolist() == [255] * flat.shape[2]


def test_a_transparent_palette_colour_becomes_white() -> None:
    image = Image.new("P", (4, 4), 0)
    image.putpalette([0, 0, 0, 200, 0, 0])
    image.putpixel((0, 0), 1)
    flat = pictures.decode(png(image, transparency=0), (4, 4), 3)
    assert flat[0, 0].tolist() == [200, 0, 0]
    assert flat[1, 1].tolist() == [255, 255, 255]


def test_a_rotation_noted_in_exif_is_applied(tmp_path: Path) -> None:
    image = Image.new("RGB", (64, 32), "black")
    image.paste("white", (0, 0, 32, 32))  # the left half; upright it is the top half
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    image.save(tmp_path / "a.jpg", exif=exif, quality=95)
    upright = pictures.decode(tmp_path / "a.jpg", (64, 32), 3)
    assert upright[:24].min() > 200
    assert upright[40:].max() < 50


def test_the_shorter_side_is_scaled_and_the_longer_one_cropped_in_the_centre() -> None:
    image = Image.new("L", (48, 16), 0)
    image.paste(255, (16, 0, 32, 16))  # white in the centre, black left and right
    fitted = pictures.fit(image, (8, 8), 1)
    assert fitted[:, 1:-1].min() == 255
    assert fitted.min() > 200  # the outermost columns mix in a little of their neighbours


def test_a_picture_of_the_right_size_is_not_changed() -> None:
    values = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    assert (pictures.fit(Image.fromarray(values), (9, 7), 3) == values).all()


def test_a_large_jpeg_decoded_at_a_fraction_looks_the_same(tmp_path: Path) -> None:
    ramp = np.add.outer(np.arange(1024), np.arange(1024)) / 8
    image = Image.fromarray(ramp.astype(np.uint8))
    image.save(tmp_path / "a.jpg", quality=95)
    small = pictures.decode(tmp_path / "a.jpg", (32, 32), 1)
    np.testing.assert_allclose(small, pictures.fit(image, (32, 32), 1), atol=3)


def test_a_common_square_size_is_kept() -> None:
    assert pictures.own_size([Header(50, 50, True)] * 3) == (50, 50)


@pytest.mark.parametrize(
    ("shorter", "side"), [([10, 20, 30], 32), ([90, 100, 127], 96), ([500, 4000, 4000], 224)]
)
def test_other_sizes_give_a_multiple_of_32_within_32_and_224(shorter: list[int], side: int) -> None:
    headers = [Header(one, one + 1, True) for one in shorter]
    assert pictures.own_size(headers) == (side, side)


def test_a_common_size_that_is_not_square_gives_a_square() -> None:
    assert pictures.own_size([Header(70, 100, True)] * 3) == (64, 64)


# how pictures of other proportions are fitted


def sloped(height: int, width: int) -> Image.Image:
    """A picture with fine detail, so that smoothing and its absence differ."""
    values = np.random.default_rng(3).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(values)


@pytest.mark.parametrize("mode", ["rgb", "grayscale"])
def test_stretching_is_what_keras_does(tmp_path: Path, mode: str) -> None:
    for number, (height, width) in enumerate([(48, 90), (20, 13), (7, 200)]):
        (tmp_path / "a").mkdir(exist_ok=True)
        sloped(height, width).save(tmp_path / "a" / f"{number}.png")
    batches = keras.utils.image_dataset_from_directory(
        tmp_path, labels=None, image_size=(24, 30), color_mode=mode, shuffle=False, verbose=False
    )
    theirs = np.concatenate([batch.numpy() for batch in batches])
    channels = 1 if mode == "grayscale" else 3
    for number, expected in enumerate(theirs):
        file = tmp_path / "a" / f"{number}.png"
        ours = pictures.decode(file, (24, 30), channels, "stretch")
        # Keras keeps fractions; its grey of a colour is cut off, that of Pillow rounded
        assert np.abs(ours - expected).max() <= (0.51 if mode == "rgb" else 1.51)


def test_padding_keeps_the_whole_picture_and_adds_black() -> None:
    image = Image.new("RGB", (40, 20), (200, 100, 50))
    padded = pictures.fit(image, (32, 32), 3, "pad")
    assert (padded[8:24] == (200, 100, 50)).all()
    assert padded[:8].max() == padded[24:].max() == 0


@pytest.mark.parametrize("how", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("size", [(1, 500), (500, 1), (1, 1), (3, 7)])
def test_every_proportion_can_be_fitted(how: pictures.Fit, size: tuple[int, int]) -> None:
    image = Image.new("RGB", size, "white")
    assert pictures.fit(image, (16, 24), 3, how).shape == (16, 24, 3)
    assert pictures.fit(image, (16, 24), 3, how).max() == 255


# files of other kinds, and damaged ones


def test_cmyk_becomes_rgb() -> None:
    file = io.BytesIO()
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(file, "JPEG")
    red = pictures.decode(file, (8, 8), 3)[4, 4]
    assert red[0] > 200
    assert red[1:].max() < 60


def test_the_first_frame_of_an_animation_counts() -> None:
    file = io.BytesIO()
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    assert pictures.header(file).frames == 2
    assert pictures.decode(file, (8, 8), 3)[4, 4].tolist() == [255, 0, 0]


def with_exif(exif: bytes) -> io.BytesIO:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(file, "JPEG", exif=exif)
    return file


def test_broken_exif_neither_ends_in_a_traceback_nor_hides_the_rotation() -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    whole = exif.tobytes()
    file = with_exif(whole.replace(b"\x01\x0f\x00\x02", b"\x01\x0f\x00\x63"))  # no such type
    assert pictures.decode(file, (8, 8), 3).shape == (8, 8, 3)
    rubbish = with_exif(b"Exif\0\0no TIFF header at all")
    assert pictures.header(rubbish).broken_exif
    assert pictures.decode(rubbish, (8, 8), 3)[4, 4, 0] > 200


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "AVIF"])
def test_damage_of_any_kind_is_unreadable_or_survived(kind: str) -> None:
    file, rng = io.BytesIO(), np.random.default_rng(0)
    sloped(20, 30).save(file, kind)
    whole = file.getvalue()
    for turn in range(60):
        broken = bytearray(whole)
        for place in rng.integers(0, min(len(whole), 400), 4):
            broken[place] = rng.integers(0, 256)
        damaged = bytes(broken) if turn % 2 else whole[: rng.integers(0, len(whole))]
        for read in (pictures.header, lambda file: pictures.decode(file, (8, 8), 3)):
            with contextlib.suppress(*pictures.UNREADABLE):
                read(io.BytesIO(damaged))


@pytest.mark.parametrize("side", [100, 150, 151, 300, 301])
@pytest.mark.parametrize("how", ["crop", "pad"])
def test_a_large_jpeg_is_decoded_at_a_fraction_but_at_least_at_twice_the_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: int, how: pictures.Fit
) -> None:
    sizes: list[tuple[int, int]] = []
    fit = pictures.fit
    monkeypatch.setattr(pictures, "fit", lambda im, *a: (sizes.append(im.size), fit(im, *a))[1])
    noise = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    whole = Image.fromarray(noise).resize((1600, 1200), Image.Resampling.BICUBIC)
    whole.save(tmp_path / "a.jpg", quality=95)
    found = pictures.decode(tmp_path / "a.jpg", (side, 2 * side // 3), 3, how)
    scale = max(one for one in (1, 2, 4, 8) if 1200 // one >= 2 * side)
    assert sizes == [(1600 // scale, 1200 // scale)]
    expected = fit(whole, (side, 2 * side // 3), 3, how)
    assert np.abs(found.astype(int) - expected).mean() < 4


KINDS = [
    *[("RGB", kind) for kind in ("gif", "webp", "tif", "bmp", "jp2", "avif", "jpg", "png")],
    *[("CMYK", kind) for kind in ("jpg", "tif")],
    *[("LAB", "tif"), ("P", "png"), ("YCbCr", "jpg")],
]


@pytest.mark.parametrize(("mode", "kind"), KINDS)
def test_pictures_of_every_kind_and_mode_are_colours_of_their_first_frame(
    tmp_path: Path, mode: str, kind: str
) -> None:
    image, other = (Image.new("RGB", (64, 48), one) for one in ((220, 20, 20), (0, 255, 0)))
    converted = image.convert("RGB" if mode == "LAB" else mode)
    if mode == "LAB":
        srgb, lab = (ImageCms.createProfile(name) for name in ("sRGB", "LAB"))
        made = ImageCms.profileToProfile(image, srgb, lab, outputMode="LAB")
        assert made is not None
        converted = made
    frames = {"save_all": True, "append_images": [other]} if kind in ("gif", "webp", "tif") else {}
    several = bool(frames) and mode == "RGB"
    converted.save(tmp_path / f"a.{kind}", **(frames if several else {}))
    about = pictures.header(tmp_path / f"a.{kind}")
    assert (about.grey, about.frames > 1) == (False, several)
    pixels = pictures.decode(tmp_path / f"a.{kind}", (32, 32), 3)
    assert np.abs(pixels[16, 16].astype(int) - [220, 20, 20]).max() < 12
