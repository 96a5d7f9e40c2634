module modules/go

go 1.27

require fanfare v0.0.0

replace fanfare => ../
