"""How the bundled models were trained, packaged and measured."""
