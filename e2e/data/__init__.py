"""The legacy export of the demo's customer: made up, the same bytes each time, with planted defects of known number."""
