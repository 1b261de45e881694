package host

func child(dir string) {}
