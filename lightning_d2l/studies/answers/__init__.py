"""An answer rule for each study, a file for each topic; table.py lists them."""
