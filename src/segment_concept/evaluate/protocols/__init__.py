"""One module a family of scoring protocols; `evaluate.rules` names them."""
