"""The few-shot engine: texts and label words in, a classifier that runs anywhere out. No Django here."""
