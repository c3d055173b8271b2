"""The vocabulary that every room speaks: frozen values and closed unions. Import from its modules, one noun each."""

__all__: list[str] = ["ask", "clock", "errors", "identity", "model", "money", "native", "rules", "stream", "translation", "usage"]
