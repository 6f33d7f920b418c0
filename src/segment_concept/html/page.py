"""Render HTML pages from the templates in `assets/html`."""

from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

_FOLDER = "assets/html"


def render(template: str, **values: object) -> str:
    """A complete page in one file: styles and scripts are inside it.

    Args:
        template: name of a file in `assets/html`.
        values: variables of the template. Strings are escaped, `Markup` is inserted as it is.
    """
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("segment_concept", _FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals["asset"] = _asset
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    return environment


def _asset(name: str) -> Markup:
    """Text of a style or script, which must not be escaped."""
    path = files("segment_concept").joinpath(_FOLDER, name)
    return Markup(path.read_text(encoding="utf-8"))
