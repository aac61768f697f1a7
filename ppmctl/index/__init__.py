"""An index on its volume: the layout, the projects, their pages, and all changes of them."""
