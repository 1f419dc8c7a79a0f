"""Training of the classifier that thinkgate ships: data, augmentation, model, export, card."""
