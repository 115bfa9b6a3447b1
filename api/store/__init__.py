"""Reading and changing what is stored, one module per resource; SQL is in `api/sql` where it is fixed."""
