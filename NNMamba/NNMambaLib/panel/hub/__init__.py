"""The panel of the hub module, one file a section; `panel` puts them together."""
