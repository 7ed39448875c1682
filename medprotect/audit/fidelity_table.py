"""The table of likeness in the report: protected images beside JPEG at quality 50."""

from html import escape
from typing import NamedTuple

from medprotect.audit.report_schema import Beside
from medprotect.audit.verdict import DASH


class _Figure(NamedTuple):
    key: str
    name: str
    unit: str = ""
    digits: int = 1
    more_is_closer: bool = False


_GROUPS = {
    "Likeness to the clean image": (
        _Figure("psnr_db", "PSNR", " dB", more_is_closer=True),
        _Figure("ssim", "SSIM", digits=3, more_is_closer=True),
        _Figure("ms_ssim", "MS-SSIM", digits=3, more_is_closer=True),
        _Figure("vif", "VIF", digits=3, more_is_closer=True),
    ),
    "Change of stored values": (
        _Figure("max_change", "largest of any pixel"),
        _Figure("rms_change", "root mean square", digits=2),
        _Figure("disc_shift", "largest of a disc&rsquo;s mean", digits=2),
    ),
    "Change of grey-value features": tuple(
        _Figure(f"first_order_{key}_percent", name, "\u202f%")
        for key, name in {
            "mean": "mean",
            "sd": "standard deviation",
            "skewness": "skewness",
            "kurtosis": "kurtosis",
            "entropy": "entropy",
        }.items()
    ),
    "Change of texture features": tuple(
        _Figure(f"texture_{name}_percent", name, "\u202f%")
        for name in ("contrast", "homogeneity", "energy", "correlation")
    ),
}


def fidelity_section(fidelity: dict[str, Beside], side: int) -> str:
    """Return the table as HTML, after a sentence that counts.

    Parameters
    ----------
    fidelity : dict
        Figures by the names of `medprotect.audit.fidelity.compare`.
    side : int
        Of the images, the shorter one, in pixels.
    """
    if not fidelity:
        return "<p>Not measured.</p>"
    body, words = "", []
    for title, figures in _GROUPS.items():
        body += f'<tr><th class="group" colspan="4" scope="rowgroup">{title}</th></tr>'
        for figure in figures:
            word = _compare(figure, fidelity)
            words.append(word)
            body += (
                f'<tr><th scope="row">{figure.name}</th>'
                f"<td>{_write(figure, 'protected', fidelity)}</td>"
                f'<td>{_write(figure, "jpeg_50", fidelity)}</td><td class="word">{word}</td></tr>'
            )
    counted = [word for word in words if word != DASH]
    closer = sum(word != "further" for word in counted)
    return (
        "<p>The yardstick is JPEG at quality 50 of the same images: in a study of CT, MR and "
        "radiographs, physicians could not tell images saved so from the originals. Protected "
        "images are as close to the clean ones as that, or closer, by "
        f"{closer} of {len(counted)} figures.{_SMALL if side < _SMALL_SIDE else ''}</p>"
        '<div class="box fidelity" tabindex="0" role="region" aria-label="Likeness"><table>'
        '<thead><tr><th scope="col">figure</th><th scope="col">protected</th>'
        '<th scope="col">JPEG 50</th><th scope="col" class="word">protected is</th></tr></thead>'
        f"<tbody>{body}</tbody></table></div>{_EXPLAINED}"
    )


_SMALL_SIDE = 128
_SMALL = (
    " On images as small as these, JPEG loses more than on images of full size: "
    "the yardstick is an easy one."
)
_EXPLAINED = (
    '<p class="soft">Means over images, except the largest changes. A disc is an eighth of the '
    "side across. Percent of a change of values is of the range from black to white; of a feature, "
    "of its mean on clean images. In a comparison of ten measures, "
    "VIF was among the three that agree best with radiologists; SSIM was not.</p>"
)


def _write(figure: _Figure, column: str, fidelity: dict[str, Beside]) -> str:
    value = _value(figure.key, column, fidelity)
    if value is None:
        same = figure.key == "psnr_db" and _value("max_change", column, fidelity) == 0
        return "no change" if same else DASH
    share = _value(f"{figure.key}_percent", column, fidelity)
    beside = f" ({share:.1f}\u202f%)" if share is not None else ""
    return escape(f"{value:.{figure.digits}f}{figure.unit}{beside}")


def _value(key: str, column: str, fidelity: dict[str, Beside]) -> float | None:
    beside = fidelity.get(key)
    if beside is None:
        return None
    return beside["protected"] if column == "protected" else beside["jpeg_50"]


def _compare(figure: _Figure, fidelity: dict[str, Beside]) -> str:
    """Say which is closer to the clean image, to the digits shown."""
    pair = [_value(figure.key, column, fidelity) for column in ("protected", "jpeg_50")]
    if pair[0] is None or pair[1] is None:
        return DASH
    protected, compressed = (round(each, figure.digits) for each in pair if each is not None)
    if protected == compressed:
        return "as close"
    return "closer" if (protected > compressed) == figure.more_is_closer else "further"
