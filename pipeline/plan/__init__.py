"""What a run is going to do: the form of its pictures, its stages, and how long they may take."""
