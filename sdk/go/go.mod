module fanfare

go 1.27
