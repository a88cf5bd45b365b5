"""What goes to the Hub: the card, the staged folder, the Space and the wheel."""
