"""The panel of the hub module: one file for each section, which `panel` puts together."""
