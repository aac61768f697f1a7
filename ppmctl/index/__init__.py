"""The volume of an index: its layout, projects, pages, and every change of them."""
