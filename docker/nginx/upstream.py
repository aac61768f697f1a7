"""Print nginx's map of the index that other names are looked for in: the public one, as pip has it by default."""

from pip._internal.models.index import PyPI

print(f"""\
map "" $ppm_upstream_url {{
    default "{PyPI.simple_url.rstrip("/")}/";
}}""")
