"""What is done to the data: plain Python and NumPy that knows nothing of Ray, queues or processes.

Foundations (`errors`, `types`, `geometry`, `colours`, `prompts`, `decode`, `scenes`) are imported by the
codecs, those by the other families (`sources`, `models`, `sinks`), and those by the steps (`read`, `plan`,
`infer`, `track`, `analyse`, `write`). Imports only ever point down; `pyproject.toml` holds the rule.
"""
