! Gives arrays of characters where numbers belong: each is refused, and nothing beside them is touched.

program characters
  use, intrinsic :: iso_fortran_env, only: real64
  use penstock
  implicit none
  type(penstock_client) :: client
  character(len=1000) :: long(3), one
  character(len=1) :: letters(2, 2)
  character(len=8) :: message
  real(real64) :: u(3)
  integer :: stat, version

  long = "text"
  one = "text"
  letters = "a"
  u = 1
  message = "as it is"
  call client%put_tensor("early", long, stat=stat, errmsg=message)
  call expect(penstock_tensor, "before there is a connection")
  call client%connect()
  call client%put_tensor("long", long, stat=stat, errmsg=message)
  call expect(penstock_tensor, "put_tensor")
  call client%put_tensor("one", one, stat=stat, errmsg=message)
  call expect(penstock_tensor, "put_tensor of a scalar")
  call client%put_tensor("letters", letters(:, 1), async=.true., stat=stat, errmsg=message)
  call expect(penstock_tensor, "put_tensor of a section")
  call client%put_snapshot(0, "u", u, "text", long, "p", u, "more", letters, stream="own", stat=stat, errmsg=message)
  call expect(penstock_tensor, "put_snapshot")
  call client%put_snapshot(0, "text", long, "u", u, stat=stat, errmsg=message)
  call expect(penstock_tensor, "put_snapshot, first")
  call client%infer("twice", long, u, stat=stat, errmsg=message)
  call expect(penstock_tensor, "infer")
  call client%infer("twice", u, letters, stat=stat, errmsg=message)
  call expect(penstock_tensor, "infer, its output")
  call client%infer_versioned("twice", long, u, version, stat=stat, errmsg=message)
  call expect(penstock_tensor, "infer_versioned")
  call client%infer_versioned("twice", u, letters, version, stat=stat, errmsg=message)
  call expect(penstock_tensor, "infer_versioned, its output")
  call client%put_snapshot(1, "u", u, "p", u, stat=stat, errmsg=message)
  call expect(penstock_ok, "a snapshot of numbers")
  call client%get_tensor("u", letters, stat=stat, errmsg=message)
  call expect(penstock_tensor, "get_tensor")
  call client%get_snapshot(0, "u", u, "p", long, stat=stat, errmsg=message)
  call expect(penstock_tensor, "get_snapshot")
  call client%close()
  print "(a)", "everything was as it must be"
contains
  subroutine expect(status, what)
    integer, intent(in) :: status
    character(len=*), intent(in) :: what
    if (stat /= status .or. message /= "as it is") error stop "not as expected: " // what
    if (any(long /= "text") .or. one /= "text" .or. any(letters /= "a")) error stop "changed by " // what
  end subroutine
end program
