"""HTML that is escaped unless it was built here, and the frame of a page."""

import html
from collections.abc import Sequence

from unlearn_jax.study.report import style


class Markup(str):
  """Text that is HTML already; any other text is escaped where it goes in."""


def tag(name: str, *children: str | None, **attributes) -> Markup:
  """An element; `class_` is a class, `data_x` is `data-x`, None is left out."""
  named = ''.join(
    f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
    for key, value in attributes.items()
    if value is not None
  )
  return Markup(f'<{name}{named}>{joined(*children)}</{name}>')


def joined(*children: str | None) -> Markup:
  """Several pieces in a row."""
  return Markup(
    ''.join(
      child if isinstance(child, Markup) else html.escape(child)
      for child in children
      if child is not None
    )
  )


def items(texts: Sequence[str]) -> Markup:
  """A list."""
  return tag('ul', *(tag('li', text) for text in texts))


def more(summary: str, *children: str) -> Markup:
  """What is there for those who open it."""
  return tag('details', tag('summary', summary), *children)


def section(title: str, *children: str | None, level: int = 2) -> Markup:
  """A part of the page; a link finds the large ones by their titles."""
  name = anchor(title) if level == 2 else None
  return tag('section', tag(f'h{level}', title), *children, id=name)


def anchor(title: str) -> str:
  """What a link to a section names."""
  return '-'.join(''.join(c if c.isalnum() else ' ' for c in title).split())


def page(title: str, lead: Sequence[str], sections: dict[str, Markup]) -> str:
  """The whole document; it needs nothing that is not in it."""
  links = (tag('a', name, href=f'#{anchor(name)}') for name in sections)
  body = joined(
    tag(
      'header',
      tag('h1', title),
      *(tag('p', text, class_='lead') for text in lead),
      tag('nav', *links, aria_label='Sections'),
    ),
    tag('main', *sections.values()),
    tag('script', Markup(style.SORT)),
  )
  head = (
    '<meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    '<meta name="color-scheme" content="light dark">'
    f'{tag("title", title)}<style>{style.CSS}</style>'
  )
  return (
    f'<!doctype html>\n<html lang="en"><head>{head}</head>'
    f'<body>{body}</body></html>\n'
  )
