"""How quickly the pages answer over millions of rows."""
