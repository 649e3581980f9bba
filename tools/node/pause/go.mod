module kotatsu/tools/node/pause

go 1.24.0
