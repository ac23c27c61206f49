! Puts and maps through shared memory as a solver in Fortran does; test_solvers.py says what it must leave.

program sharing
  use, intrinsic :: iso_c_binding, only: c_associated, c_f_pointer
  use, intrinsic :: iso_fortran_env, only: error_unit, real64
  use penstock
  implicit none
  integer, parameter :: nx = 300, ny = 200
  type(penstock_client) :: client
  type(penstock_view) :: view, mapped
  real(real64), pointer :: u(:, :), found(:, :)
  character(len=:), allocatable :: dtype
  character(len=200) :: text
  integer, allocatable :: shape_found(:)
  integer :: step, i, j, stat

  call client%map_tensor(mapped, "own", stat=stat, errmsg=text)
  call expect(stat == penstock_not_connected, "no client")
  call client%connect()
  call expect(client%transport() == "shared memory", client%transport())
  call client%lease(view, "float46", [nx, ny], stat=stat, errmsg=text)
  call expect(stat == penstock_tensor .and. .not. c_associated(view%address()), "no such type")
  call client%map_tensor(mapped, "own", stat=stat, errmsg=text)
  call expect(stat == penstock_key_missing, "nothing to map")
  do step = 0, 2
    call client%lease(view, "float64", [nx, ny])
    call c_f_pointer(view%address(), u, [nx, ny])
    do j = 1, ny
      do i = 1, nx
        u(i, j) = step + (i - 1) + nx * (j - 1)
      end do
    end do
    call client%put_snapshot(step, "u", u, reversed=.true.)
  end do
  call client%lease(view, "float64", [nx, ny])
  call c_f_pointer(view%address(), u, [nx, ny])
  u = 7
  call client%put_tensor("own", u, reversed=.true.)
  call client%map_tensor(mapped, "own")
  call mapped%layout(dtype, shape_found)
  call expect(dtype == "float64" .and. all(shape_found == [nx, ny]), "its layout")
  call expect(c_associated(mapped%address(), view%address()), "a mapping in another place")
  call client%delete_tensor("own")
  call client%close()
  call view%end()
  call c_f_pointer(mapped%address(), found, shape_found)
  call expect(all(found == 7), "a mapping whose key and client are gone")
  call mapped%end()
  call mapped%end()
  print "(a)", "everything was as it must be"

contains

  subroutine expect(true, what)
    logical, intent(in) :: true
    character(len=*), intent(in) :: what
    if (true) return
    write (error_unit, *) "not as expected: ", what
    error stop
  end subroutine
end program
