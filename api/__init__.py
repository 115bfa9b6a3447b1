"""What people and programs use: REST, sign-in and the live feed over the pipeline's data."""
