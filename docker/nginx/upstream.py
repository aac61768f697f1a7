"""nginx's map of the index that other names are looked for in: the public one, as pypiserver has it by default."""

from pypiserver.config import DEFAULTS

print(f"""\
map "" $ppm_upstream_url {{
    default "{DEFAULTS.FALLBACK_URL.rstrip("/")}/";
}}""")
