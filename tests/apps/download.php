<?php
// A download whose second half takes so many seconds to make.
header('Content-Type: application/octet-stream');
header('Content-Length: 2000000');
echo str_repeat('a', 1000000);
flush();
sleep((int) $_GET['seconds']);
echo str_repeat('b', 1000000);
