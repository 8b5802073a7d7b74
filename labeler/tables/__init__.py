"""Tables that say what images are: CSV, JSON Lines, Parquet, COCO, Label Studio. Files of unknown origin, read row by
row in flat memory. No database, no settings: limits are arguments."""
