package disk

import (
	"errors"

	"golang.org/x/sys/unix"
)

// system holds the calls that may hang.
type system struct {
	openIn   func(root, path string) (int, error)
	open     func(dir int, name string) (int, error)
	stat     func(dir int, name string) (inode, error) // name "": dir itself
	getdents func(dir int, buf []byte) (int, error)
	statfs   func(path string, s *unix.Statfs_t) error
}

// inode is what a walk needs to know of a file.
type inode struct {
	dev, ino uint64
	mount    uint64 // id of the mount; 0 where the kernel does not tell
	blocks   uint64 // of 512 bytes
	links    uint32
	dir      bool
}

func newSystem() *system {
	stat := statx
	// ENOSYS before Linux 4.11, EPERM under old seccomp filters. Asked once:
	// one walk must not mix the two, since only statx tells the mount.
	if _, err := statx(unix.AT_FDCWD, "/"); err != nil {
		stat = fstatat
	}
	return &system{
		openIn: openIn,
		open:   openDirectory,
		stat:   stat,
		getdents: func(dir int, buf []byte) (n int, err error) {
			err = retry(func() error { n, err = unix.Getdents(dir, buf); return err })
			return n, err
		},
		statfs: func(path string, s *unix.Statfs_t) error {
			return retry(func() error { return unix.Statfs(path, s) })
		},
	}
}

// openDirectory opens a directory and nothing else: no symlink, no FIFO, and
// without changing its access time where that is permitted.
func openDirectory(dir int, name string) (fd int, err error) {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
	err = retry(func() error { fd, err = unix.Openat(dir, name, flags|unix.O_NOATIME, 0); return err })
	if errors.Is(err, unix.EPERM) { // O_NOATIME is for the owner and root
		err = retry(func() error { fd, err = unix.Openat(dir, name, flags, 0); return err })
	}
	return fd, err
}

// openIn opens the directory path of the host, whose root is at root here.
// What lies on the way there belongs to the host and may be a symlink; an
// absolute one must lead to the host's directory, not to ours of that name.
func openIn(root, path string) (fd int, err error) {
	if root == "" {
		return openDirectory(unix.AT_FDCWD, path)
	}
	err = retry(func() error { fd, err = unix.Open(root, unix.O_PATH|unix.O_CLOEXEC, 0); return err })
	if err != nil {
		return -1, err
	}
	defer unix.Close(fd)
	how := unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	}
	var at int
	err = retry(func() error { at, err = unix.Openat2(fd, path, &how); return err })
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) { // before Linux 5.6
		return openDirectory(unix.AT_FDCWD, root+path)
	}
	if err != nil {
		return -1, err
	}
	defer unix.Close(at)
	return openDirectory(at, ".")
}

// Neither follows symlinks nor mounts what an automounter has there.
const statFlags = unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT | unix.AT_EMPTY_PATH

// statx does not ask a server for attributes that the kernel has (DONT_SYNC):
// the mount point of a network file system below the walk must not hang it.
func statx(dir int, name string) (inode, error) {
	var s unix.Statx_t
	const mask = unix.STATX_TYPE | unix.STATX_NLINK | unix.STATX_INO | unix.STATX_BLOCKS | unix.STATX_MNT_ID
	err := retry(func() error { return unix.Statx(dir, name, statFlags|unix.AT_STATX_DONT_SYNC, mask, &s) })
	if err != nil {
		return inode{}, err
	}
	i := inode{
		dev: unix.Mkdev(s.Dev_major, s.Dev_minor), ino: s.Ino, blocks: s.Blocks,
		links: s.Nlink, dir: s.Mode&unix.S_IFMT == unix.S_IFDIR,
	}
	if s.Mask&unix.STATX_MNT_ID != 0 {
		i.mount = s.Mnt_id
	}
	return i, nil
}

func fstatat(dir int, name string) (inode, error) {
	var s unix.Stat_t
	if err := retry(func() error { return unix.Fstatat(dir, name, &s, statFlags) }); err != nil {
		return inode{}, err
	}
	return inode{
		dev: s.Dev, ino: s.Ino, blocks: uint64(s.Blocks),
		links: uint32(s.Nlink), dir: s.Mode&unix.S_IFMT == unix.S_IFDIR,
	}, nil
}

// retry repeats calls that a signal interrupted.
func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
