"""The checks: what is compared, Great Expectations' verdict, and its pages."""
