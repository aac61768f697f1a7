"""Print nginx's map with the index to which other names are redirected: the public index, pip's default."""

from pip._internal.models.index import PyPI

print(f"""\
map "" $ppm_upstream_url {{
    default "{PyPI.simple_url.rstrip("/")}/";
}}""")
