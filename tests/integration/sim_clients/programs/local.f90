! A model in this process beside the same one in the database. Arguments: two files of models, real32
! (rows, 4) to the same shape.
program local
  use, intrinsic :: iso_fortran_env, only: error_unit, real32, real64
  use penstock
  use penstock_torch
  implicit none
  type :: no_array
    integer :: number = 1
  end type
  type(no_array) :: nothing
  type(penstock_client) :: client
  type(penstock_local_model) :: model
  character(len=1000) :: path
  character(len=600) :: text
  real(real32) :: x(8, 4), here(8, 4), there(8, 4), wide(16, 4)
  integer :: stat, version, i
  call model%run(x, here, stat=stat, errmsg=text)
  call expect(stat == penstock_not_connected .and. index(text, "not open") > 0, "no model is open")
  call model%open(client, "net", stat=stat, errmsg=text)
  call expect(stat == penstock_not_connected .and. index(text, "connect") > 0, "no client")
  call client%connect()
  call model%open(client, "net", wait=0.02_real64, stat=stat, errmsg=text)
  call expect(stat == penstock_model_missing .and. index(text, "no model 'net' yet") > 0, "no model")
  call expect(model%version() == 0, "no version")
  x = reshape([(sin(real(i, real32)), i=1, 32)], [8, 4])
  wide = 0
  do version = 1, 2
    call get_command_argument(version, path)
    call client%put_model_file("net", path, version)
    if (version == 1) call model%open(client, "net", follow_every=1.0e9_real64)
    if (version == 2) call model%refresh()
    call expect(model%version() == version, "version")
    call model%run(x, here)
    call client%infer("net", x, there)
    call expect(all(here == there), "the numbers of the database")
    call model%run(x(8:1:-1, :), wide(::2, :))
    call expect(all(wide(::2, :) == here(8:1:-1, :)) .and. all(wide(2::2, :) == 0), "sections")
  end do
  call model%run(x(:, 1:3), here, stat=stat, errmsg=text)
  call expect(stat == penstock_inference .and. index(text, "'net@2' failed: mat1 and mat2") > 0, "wrong input")
  call model%run(x, here(1:2, :), stat=stat, errmsg=text)
  call expect(stat == penstock_tensor .and. index(text, "float32 (2, 4)") > 0, "wrong output")
  call model%run(x, nothing, stat=stat, errmsg=text)
  call expect(stat == penstock_tensor .and. index(text, "output") > 0, "an output of another type")
  call model%run(x, here, stat=stat, errmsg=text)
  call expect(stat == penstock_ok, "it goes on")
  call expect(all(here == there), "with the same numbers")
  call model%close()
  call model%close()
  call client%close()
contains
  subroutine expect(truth, what)
    logical, intent(in) :: truth
    character(len=*), intent(in) :: what
    if (truth) return
    write (error_unit, "(4a)") what, ": ", trim(text)
    error stop 1
  end subroutine
end program
