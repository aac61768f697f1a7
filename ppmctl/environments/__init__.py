"""Shared environments: named, versioned lists of requirements, stored in the index as packages `ppm-env-NAME`."""
