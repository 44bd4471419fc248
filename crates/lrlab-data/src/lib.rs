//! CIFAR-10, IMDB and embedded synthetic sets: from files to splits to batches, every error with its row.
