"""Image datasets in a folder per class: split, check, measure and regroup them."""
