"""Sphinx's settings of the site. build.py sets `LANGUAGE`, and `IN_BOTH`: the pages that both languages have."""

import itertools
import os
import re
from typing import Any

from sphinx.search import SearchLanguage

project = "lightning_d2l"
author = "the lightning_d2l authors"
language = os.environ["LANGUAGE"]
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.viewcode", "sphinx.ext.mathjax", "sphinx_copybutton"]
root_doc = "index"
exclude_patterns = ["_files"]

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
myst_links_external_new_tab = True
nb_execution_mode = "off"  # docs/notebooks/make.py executes them
suppress_warnings = ["misc.highlighting_failure"]  # the lexer of Chinese comments in a shell block

mathjax_path = f"{'' if language == 'en' else '../../_static/'}mathjax/tex-chtml.js"  # a copy that build.py makes

default_role = "code"  # docstrings say `name`
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_inherit_docstrings = False
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
nitpicky = False

html_theme = "furo"
html_title = "lightning_d2l"
html_show_sourcelink = False
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False
html_static_path = ["static"]
html_css_files = ["site.css"]
html_theme_options = {"navigation_with_keys": False}
templates_path = ["templates"]
html_sidebars = {
    "**": [
        "sidebar/brand.html",
        "sidebar/search.html",
        "language.html",
        "sidebar/scroll-start.html",
        "sidebar/navigation.html",
        "sidebar/scroll-end.html",
    ]
}
html_context = {"in_both": os.environ["IN_BOTH"].split(","), "english": language == "en"}


def escape(_app: Any, _what: str, _name: str, _object: Any, _options: Any, lines: list[str]) -> None:
    """Docstrings are plain text with names in backticks: nothing else in them is markup."""
    quoted = re.compile(r"(`[^`]*`)")
    lines[:] = [
        "".join(p if p.startswith("`") else re.sub(r"([*|])", r"\\\1", p) for p in quoted.split(line)) for line in lines
    ]


class Chinese(SearchLanguage):
    """Chinese is searched by pairs of characters; the search of Sphinx 9 for Chinese has an error in the browser."""

    lang = "zh"
    language_name = "Chinese"
    js_stemmer_code = (
        SearchLanguage.js_stemmer_code
        + r"""
var splitQuery = (query) =>
  (query.match(/[a-zA-Z0-9_]+|[\u4e00-\u9fff]+/g) || []).flatMap((word) =>
    /\w/.test(word) || word.length === 1
      ? [word]
      : [...word].slice(1).map((last, i) => word[i] + last));
"""
    )

    def split(self, input: str) -> list[str]:
        words = list[str]()
        for word in re.findall(r"[a-zA-Z0-9_]+|[\u4e00-\u9fff]+", input):
            words += [word] if word.isascii() else [*word, *map("".join, itertools.pairwise(word))]
        return words

    def stem(self, word: str) -> str:
        return word.lower()


def setup(app: Any) -> None:
    """What Sphinx calls."""
    app.connect("autodoc-process-docstring", escape)
    app.add_search_language(Chinese)
